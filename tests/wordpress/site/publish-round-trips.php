<?php
/**
 * Times how long the plugin takes to publish one event: signed, sent over the
 * socket, answered. `php publish-round-trips.php WORDPRESS POST COUNT`.
 *
 * Prints the times in µs as JSON. Uses the plugin's own classes, so it measures
 * what a save pays, but for WordPress itself.
 *
 * @package Sidewire
 */

require $argv[1] . '/wp-load.php';

$sidewire_config    = Sidewire\Config::of_site();
$sidewire_publisher = new Sidewire\Publisher( $sidewire_config, new Sidewire\Transport\Unix_Http( $sidewire_config->socket() ), new Sidewire\Circuit_Breaker() );
$sidewire_times     = array();

for ( $sidewire_round = 0; $sidewire_round < (int) $argv[3]; $sidewire_round++ ) {
	$sidewire_price = number_format( 100 + $sidewire_round / 100, 2 );
	$sidewire_event = new Sidewire\Event( 'updated', get_current_blog_id(), (int) $argv[2], 'price', array( $sidewire_price ), (int) ( microtime( true ) * 1e6 ) );
	$sidewire_start = hrtime( true );
	$sidewire_publisher->publish( array( $sidewire_event ), true );
	$sidewire_times[] = ( hrtime( true ) - $sidewire_start ) / 1000;
}

if ( get_option( Sidewire\Circuit_Breaker::OPTION ) ) {
	fwrite( STDERR, "publishing failed: the times are of failures\n" );
	exit( 1 );
}
echo wp_json_encode( $sidewire_times );
