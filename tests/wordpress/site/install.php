<?php
/**
 * Installs WordPress from the command line: tables, the administrator, permalinks.
 *
 * Reads its input as JSON on stdin: title, user, password, email, home.
 * Makes no content: seed.php does.
 *
 * @package Sidewire
 */

$sidewire_site = json_decode( stream_get_contents( STDIN ), true );

define( 'WP_INSTALLING', true );
$_SERVER['HTTP_HOST']   = parse_url( $sidewire_site['home'], PHP_URL_HOST );
$_SERVER['REQUEST_URI'] = '/';

require $argv[1] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

wp_install( $sidewire_site['title'], $sidewire_site['user'], $sidewire_site['email'], true, '', $sidewire_site['password'] );

update_option( 'permalink_structure', '/%postname%/' );
update_option( 'timezone_string', 'UTC' );
// Avatars would be asked of gravatar.com.
update_option( 'show_avatars', 0 );
$wp_rewrite->init();
flush_rewrite_rules( false );
