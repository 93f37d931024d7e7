<?php
/**
 * Sets the price, as any PHP of the site would: `php price.php WORDPRESS 42.50`.
 *
 * Without a price it deletes the value. It only calls WordPress: what makes the
 * page live is the plugin's work.
 *
 * @package Sidewire
 */

if ( count( $argv ) > 3 || ( isset( $argv[2] ) && ! preg_match( '/^[^<>]{0,40}$/u', $argv[2] ) ) ) {
	fwrite( STDERR, "usage: price [VALUE]   a value of at most 40 characters, like 42.50; none deletes the price\n" );
	exit( 64 );
}

require $argv[1] . '/wp-load.php';

$sidewire_page = get_page_by_path( 'coffee' );
if ( null === $sidewire_page ) {
	fwrite( STDERR, "there is no page \"coffee\" on this site\n" );
	exit( 1 );
}
if ( isset( $argv[2] ) ) {
	update_post_meta( $sidewire_page->ID, 'price', wp_slash( $argv[2] ) );
	echo 'The price of "', esc_html( $sidewire_page->post_title ), '" is now ', esc_html( $argv[2] ), ".\n";
} else {
	delete_post_meta( $sidewire_page->ID, 'price' );
	echo 'The price of "', esc_html( $sidewire_page->post_title ), "\" is deleted.\n";
}
