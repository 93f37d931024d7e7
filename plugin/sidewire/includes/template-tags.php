<?php
/**
 * Functions for themes.
 *
 * @package Sidewire
 */

defined( 'ABSPATH' ) || exit;

/**
 * Prints a meta value that stays current on the open page.
 *
 * @since 0.1.0
 *
 * @param string           $key  The value's name.
 * @param int|WP_Post|null $post Its post; the current one if left out.
 */
function sidewire_live( $key, $post = null ) {
	echo Sidewire\Plugin::instance()->live_value()->render( (string) $key, $post ); // phpcs:ignore WordPress.Security.EscapeOutput -- escaped there.
}
