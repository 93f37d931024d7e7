<?php
/**
 * Sends one request through the plugin's transport, as whoever runs this, and
 * prints what came of it as JSON.
 *
 * Usage: php post.php SOCKET MILLISECONDS
 *
 * @package Sidewire
 */

require dirname( __DIR__ ) . '/bootstrap.php';

$start = hrtime( true );
$reply = ( new Sidewire\Transport\Unix_Http( $argv[1] ) )->post( '/api/info', array(), '{}', new Sidewire\Deadline( (float) $argv[2] ) );
echo json_encode( array( $reply->failure(), $reply->detail(), ( hrtime( true ) - $start ) / 1e6 ) );
