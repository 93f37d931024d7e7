<?php
/**
 * Sidewire: live WordPress pages over the site's own HTTPS port.
 *
 * Starts the plugin. It decides nothing itself: what is captured, what may be
 * published and how it is sent is in includes/.
 *
 * @package           Sidewire
 * @license           GPL-2.0-or-later
 *
 * @wordpress-plugin
 * Plugin Name:       Sidewire
 * Description:       Shows post meta live: a changed value reaches every open page within a blink, through the Sidewire server in front of the site.
 * Version:           0.1.0
 * Requires at least: 6.1
 * Requires PHP:      7.4
 * Author:            Sidewire contributors
 * License:           GPL-2.0-or-later
 * License URI:       https://www.gnu.org/licenses/gpl-2.0.html
 * Text Domain:       sidewire
 */

defined( 'ABSPATH' ) || exit;

define( 'SIDEWIRE_VERSION', '0.1.0' );
define( 'SIDEWIRE_FILE', __FILE__ );

require __DIR__ . '/includes/class-autoloader.php';
require __DIR__ . '/includes/template-tags.php';

Sidewire\Autoloader::register( __DIR__ . '/includes' );

// Now, not on a hook: is_ssl() is asked before the first one that a plugin could use safely.
Sidewire\Forwarded_Scheme::apply( $_SERVER );

Sidewire\Plugin::instance()->add_hooks();
