<?php
/**
 * A stand-in for the sidecar's publish socket, in a process of its own.
 *
 * Takes requests on a Unix socket and behaves as its mode says. Says "ready" on
 * stdout once it listens, and ends when its stdin does. It verifies nothing.
 *
 * Usage: php sidecar-stand-in.php SOCKET RECORD MODE
 *
 * Modes: ok · hiccup (closes the first connection, is ok then) · forgets (reads, then
 * closes) · silent · deaf (never reads) · closes · garbage · STATUS/CODE, such
 * as 401/1003 · early/STATUS/CODE (answers before the body is read) ·
 * starting (1006 until it is signed for a later second) · part (one command fails) ·
 * mute (listens and never accepts, with the shortest backlog)
 *
 * @package Sidewire
 */

list( , $socket, $record, $mode ) = $argv;

$server = stream_socket_server( "unix://$socket", $errno, $message, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, stream_context_create( array( 'socket' => array( 'backlog' => 'mute' === $mode ? 1 : 128 ) ) ) );
if ( false === $server ) {
	fwrite( STDERR, "$socket: $message\n" );
	exit( 1 );
}
fwrite( STDOUT, "ready\n" );

$open = array();
while ( true ) {
	$readable = 'mute' === $mode ? array( STDIN ) : array( STDIN, $server );
	$writable = array();
	$except   = array();
	stream_select( $readable, $writable, $except, null );
	if ( in_array( STDIN, $readable, true ) && '' === (string) fread( STDIN, 1 ) ) {
		exit( 0 );
	}
	if ( ! in_array( $server, $readable, true ) ) {
		continue;
	}
	$connection = stream_socket_accept( $server, 0 );
	if ( false === $connection ) {
		continue;
	}
	if ( 'closes' === $mode || 'hiccup' === $mode ) {
		fclose( $connection );
		$mode = 'hiccup' === $mode ? 'ok' : $mode;
		continue;
	}
	if ( 'deaf' === $mode ) {
		$open[] = $connection;
		continue;
	}
	// A test that breaks must not keep this process for ever.
	stream_set_timeout( $connection, 5 );
	$headers = array();
	for ( $line = rtrim( (string) fgets( $connection ) ), $request = $line; '' !== $line; $line = rtrim( (string) fgets( $connection ) ) ) {
		if ( false !== strpos( $line, ': ' ) ) {
			list( $name, $value )           = explode( ': ', $line, 2 );
			$headers[ strtolower( $name ) ] = $value;
		}
	}
	if ( 0 === strpos( $mode, 'early/' ) ) {
		list( , $status, $code ) = explode( '/', $mode );
		answer( $connection, (int) $status, array( 'error' => array( 'code' => (int) $code, 'message' => 'as the test asked' ) ) );
		fclose( $connection );
		continue;
	}
	$body = '';
	$want = (int) ( $headers['content-length'] ?? 0 );
	while ( strlen( $body ) < $want && ! feof( $connection ) ) {
		$body .= fread( $connection, $want - strlen( $body ) );
	}
	file_put_contents( $record, json_encode( array( 'request' => $request, 'headers' => $headers, 'body' => $body ) ) . "\n", FILE_APPEND );

	$commands = json_decode( $body, true )['commands'] ?? array();
	$replies  = array_fill( 0, count( $commands ), array( 'broadcast' => array( 'responses' => array( array( 'result' => array( 'offset' => 1, 'epoch' => 'e' ) ), array( 'result' => array( 'offset' => 1, 'epoch' => 'e' ) ) ) ) ) );
	if ( 'silent' === $mode ) {
		$open[] = $connection;
		continue;
	}
	if ( 'forgets' === $mode ) {
		fclose( $connection );
		continue;
	}
	if ( 'garbage' === $mode ) {
		fwrite( $connection, "* OK IMAP4rev1\r\n\r\n" );
	} elseif ( 'ok' === $mode ) {
		answer( $connection, 200, array( 'replies' => $replies ) );
	} elseif ( 'part' === $mode ) {
		$replies[0] = array( 'broadcast' => array( 'responses' => array( array( 'error' => array( 'code' => 102, 'message' => 'unknown channel' ) ), array( 'result' => array( 'offset' => 1, 'epoch' => 'e' ) ) ) ) );
		answer( $connection, 200, array( 'replies' => $replies ) );
	} elseif ( 'starting' === $mode ) {
		// The first request's second is the one of the start.
		$from = $from ?? (int) $headers['webhook-timestamp'] + 1;
		if ( (int) $headers['webhook-timestamp'] < $from ) {
			answer( $connection, 503, array( 'error' => array( 'code' => 1006, 'message' => 'signed before the start', 'not_before' => $from ) ) );
		} else {
			answer( $connection, 200, array( 'replies' => $replies ) );
		}
	} else {
		list( $status, $code ) = explode( '/', $mode );
		answer( $connection, (int) $status, array( 'error' => array( 'code' => (int) $code, 'message' => 'as the test asked' ) ) );
	}
	fclose( $connection );
}

/**
 * Answers a request.
 *
 * @param resource $connection The client.
 * @param int      $status     HTTP status.
 * @param array    $json       The body.
 */
function answer( $connection, int $status, array $json ): void {
	$body = json_encode( $json );
	fwrite( $connection, "HTTP/1.1 $status X\r\nContent-Type: application/json\r\ncontent-length: " . strlen( $body ) . "\r\n\r\n$body" );
}
