<?php
/**
 * One PHP request to WordPress, in which code of a test runs.
 *
 * As the router of PHP's built-in web server it takes the code from the body of
 * a POST; on the command line, from a file. What the code returns is answered
 * as JSON. Everything after that, WordPress's shutdown above all, is as ever.
 *
 * @package Sidewire
 */

$sidewire_request = json_decode( 'cli' === PHP_SAPI ? file_get_contents( $argv[1] ) : file_get_contents( 'php://input' ), true );

foreach ( $sidewire_request['environment'] as $sidewire_name => $sidewire_value ) {
	putenv( "$sidewire_name=$sidewire_value" );
}
$_SERVER = array_merge(
	$_SERVER,
	array(
		'HTTP_HOST'       => $sidewire_request['host'],
		'REQUEST_METHOD'  => 'GET',
		'REQUEST_URI'     => '/',
		'SCRIPT_NAME'     => '/index.php',
		'PHP_SELF'        => '/index.php',
		'SCRIPT_FILENAME' => $sidewire_request['root'] . '/index.php',
		'SERVER_PROTOCOL' => 'HTTP/1.1',
	),
	$sidewire_request['server']
);

if ( 'cli' !== PHP_SAPI ) {
	// Else requests call the site's own address, where nobody listens.
	define( 'DISABLE_WP_CRON', true );
}

// The database is thrown away after the tests, so it need not survive a power cut; with SQLite this is thrice as fast.
define( 'SQLITE_JOURNAL_MODE', 'MEMORY' );

require $sidewire_request['root'] . '/wp-load.php';

$sidewire_result = ( static function ( string $sidewire_code, array $given ) {
	extract( $given );
	// The code of a test of this repository, by way of this file alone.
	return eval( $sidewire_code );
} )( $sidewire_request['code'], $sidewire_request['given'] );

if ( 'cli' !== PHP_SAPI ) {
	header( 'Content-Type: application/json' );
}
echo json_encode( array( 'returned' => $sidewire_result ) );
