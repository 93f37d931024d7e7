<?php
/**
 * Sends one request through the plugin's transport, as whoever runs this or as
 * the user with the number USER, and prints what came of it as JSON.
 *
 * Usage: php post.php SOCKET MILLISECONDS [USER]
 *
 * @package Sidewire
 */

require dirname( __DIR__ ) . '/bootstrap.php';

if ( isset( $argv[3] ) ) {
	// Loaded before, since that user may have no right to this folder.
	foreach ( array( Sidewire\Transport\Unix_Http::class, Sidewire\Transport\Reply::class, Sidewire\Deadline::class ) as $class ) {
		class_exists( $class );
	}
	posix_initgroups( 'nobody', (int) $argv[3] ) && posix_setgid( (int) $argv[3] ) && posix_setuid( (int) $argv[3] ) || exit( 1 );
}
$start = hrtime( true );
$reply = ( new Sidewire\Transport\Unix_Http( $argv[1] ) )->post( '/api/info', array(), '{}', new Sidewire\Deadline( (float) $argv[2] ) );
echo json_encode( array( $reply->failure(), $reply->detail(), ( hrtime( true ) - $start ) / 1e6 ) );
