<?php
/**
 * A real WordPress with the plugin in it, and a way to run code in its requests.
 *
 * It is a copy of the WordPress that SIDEWIRE_WP_ROOT names, made once a run and
 * removed after. A database of its own server is not copied: posts are added there.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests;

/**
 * Serves it with PHP's built-in web server, as a request there is one of the
 * web to PHP: not of the command line.
 */
final class Site {

	/**
	 * The one of this run.
	 *
	 * @var self|null
	 */
	private static $instance;

	/**
	 * Root of the copy.
	 *
	 * @var string
	 */
	public $root;

	/**
	 * Holds the copy.
	 *
	 * @var Folder
	 */
	private $folder;

	/**
	 * The web server.
	 *
	 * @var Process
	 */
	private $server;

	/**
	 * Where it listens: host and port.
	 *
	 * @var string
	 */
	private $address;

	/**
	 * The site of this run, made when it is first asked for.
	 */
	public static function instance(): self {
		if ( null === self::$instance ) {
			self::$instance = new self( self::source() );
			register_shutdown_function(
				static function (): void {
					self::$instance = null;
				}
			);
		}
		return self::$instance;
	}

	/**
	 * The WordPress to copy.
	 */
	private static function source(): string {
		$root = getenv( 'SIDEWIRE_WP_ROOT' );
		if ( false === $root || '' === $root ) {
			throw new \RuntimeException( 'SIDEWIRE_WP_ROOT is not set: expected the root of an installed WordPress, the folder that holds wp-load.php and wp-config.php. The unit tests need none: --testsuite unit.' );
		}
		foreach ( array( 'wp-load.php', 'wp-config.php', 'wp-includes/version.php' ) as $file ) {
			if ( ! is_file( "$root/$file" ) ) {
				throw new \RuntimeException( "SIDEWIRE_WP_ROOT = \"$root\": expected the root of an installed WordPress, but it has no $file." );
			}
		}
		return realpath( $root );
	}

	/**
	 * Copies, serves and activates.
	 *
	 * @param string $source Root of an installed WordPress.
	 */
	private function __construct( string $source ) {
		$this->folder = new Folder();
		$this->root   = $this->folder->path . '/wordpress';
		self::command( array( 'cp', '-a', $source, $this->root ) );

		$plugin = $this->root . '/wp-content/plugins/sidewire';
		self::command( array( 'rm', '-rf', $plugin ) );
		self::command( array( 'cp', '-a', dirname( __DIR__, 2 ) . '/sidewire', $plugin ) );
		// What the client build puts there; what it does is tested with a browser.
		if ( ! is_dir( "$plugin/build" ) ) {
			mkdir( "$plugin/build" );
		}
		touch( "$plugin/build/sidewire.js" );

		$this->serve();
		$place = $this->request( 'return array( ABSPATH, defined( "FQDB" ) ? FQDB : "" );' );
		foreach ( array_filter( $place ) as $path ) {
			if ( 0 !== strpos( realpath( $path ), realpath( $this->root ) . '/' ) && realpath( $path ) !== realpath( $this->root ) ) {
				throw new \RuntimeException( "SIDEWIRE_WP_ROOT = \"$source\": its wp-config.php names $path by its full path, so that a copy of it works on the original. Expected paths from __DIR__." );
			}
		}
		$fault = $this->request(
			'require_once ABSPATH . "wp-admin/includes/plugin.php";
			deactivate_plugins( "sidewire/sidewire.php" );
			$result = activate_plugin( "sidewire/sidewire.php" );
			return is_wp_error( $result ) ? $result->get_error_message() : null;'
		);
		if ( null !== $fault ) {
			throw new \RuntimeException( "the plugin could not be activated: $fault" );
		}
	}

	/**
	 * Runs code in a request of the web.
	 *
	 * @param string $code        PHP; what it returns is returned.
	 * @param array  $given       Variables for it, by name.
	 * @param array  $environment Environment variables, by name.
	 * @param array  $server      Server variables, by name.
	 * @return mixed
	 */
	public function request( string $code, array $given = array(), array $environment = array(), array $server = array() ) {
		$context = stream_context_create(
			array(
				'http' => array(
					'method'        => 'POST',
					'content'       => json_encode( $this->order( $code, $given, $environment, $server ) ),
					'header'        => 'Content-Type: application/octet-stream',
					'timeout'       => 60,
					'ignore_errors' => true,
				),
			)
		);
		// Until the end of the connection, which is after WordPress's shutdown.
		$answer = file_get_contents( "http://{$this->address}/", false, $context );
		return $this->returned( (string) $answer );
	}

	/**
	 * Runs code in a request of the command line.
	 *
	 * @param string $code        PHP; what it returns is returned.
	 * @param array  $given       Variables for it, by name.
	 * @param array  $environment Environment variables, by name.
	 * @return mixed
	 */
	public function command_line( string $code, array $given = array(), array $environment = array() ) {
		$file = $this->folder->path . '/order.json';
		file_put_contents( $file, json_encode( $this->order( $code, $given, $environment, array() ) ) );
		$process       = new Process( array( PHP_BINARY, '-d', 'error_log=' . $this->log_file(), '-d', 'display_errors=0', __DIR__ . '/request.php', $file ), $this->log_file() );
		list( , $out ) = $process->finish();
		return $this->returned( $out );
	}

	/**
	 * What was logged since the log was last taken.
	 *
	 * @return string[] Lines, without their time.
	 */
	public function take_log(): array {
		$lines = is_file( $this->log_file() ) ? file( $this->log_file(), FILE_IGNORE_NEW_LINES ) : array();
		file_put_contents( $this->log_file(), '' );
		return array_map( static fn( $line ) => preg_replace( '/^\[[^\]]*\] /', '', $line ), $lines );
	}

	/**
	 * Its version of WordPress.
	 */
	public function version(): string {
		return $this->request( 'return get_bloginfo( "version" );' );
	}

	/**
	 * What request.php needs.
	 *
	 * @param string $code        PHP.
	 * @param array  $given       Variables for it, by name.
	 * @param array  $environment Environment variables, by name.
	 * @param array  $server      Server variables, by name.
	 */
	private function order( string $code, array $given, array $environment, array $server ): array {
		return array(
			'root'        => $this->root,
			'host'        => 'localhost',
			'code'        => $code,
			'given'       => (object) $given,
			'environment' => (object) $environment,
			'server'      => (object) $server,
		);
	}

	/**
	 * Reads an answer of request.php.
	 *
	 * @param string $answer JSON, if all went well.
	 * @return mixed
	 */
	private function returned( string $answer ) {
		$json = json_decode( $answer, true );
		if ( ! is_array( $json ) || ! array_key_exists( 'returned', $json ) ) {
			throw new \RuntimeException( "a request to WordPress failed: $answer\n" . implode( "\n", $this->take_log() ) );
		}
		return $json['returned'];
	}

	/**
	 * Where PHP logs.
	 */
	private function log_file(): string {
		return $this->folder->path . '/php.log';
	}

	/**
	 * Starts the web server on a free port.
	 */
	private function serve(): void {
		// PHP's server does not say which port it got, so it is given one that was free a moment ago.
		for ( $attempt = 0; $attempt < 10; $attempt++ ) {
			$probe         = stream_socket_server( 'tcp://127.0.0.1:0' );
			$this->address = stream_socket_get_name( $probe, false );
			fclose( $probe );
			$this->server = new Process(
				array( PHP_BINARY, '-d', 'error_log=' . $this->log_file(), '-d', 'log_errors=1', '-d', 'display_errors=0', '-d', 'opcache.enable_cli=1', '-S', $this->address, __DIR__ . '/request.php' ),
				$this->folder->path . '/server.log'
			);
			for ( $deadline = microtime( true ) + 20; $this->server->runs() && microtime( true ) < $deadline; usleep( 10000 ) ) {
				$connection = @stream_socket_client( "tcp://{$this->address}", $errno, $message, 1 );
				if ( false !== $connection ) {
					fclose( $connection );
					return;
				}
			}
		}
		throw new \RuntimeException( 'PHP\'s web server did not start: ' . file_get_contents( $this->folder->path . '/server.log' ) );
	}

	/**
	 * Runs a command that has to succeed.
	 *
	 * @param string[] $command Program and arguments.
	 */
	private static function command( array $command ): void {
		list( $code, $output ) = ( new Process( $command ) )->finish();
		if ( 0 !== $code ) {
			throw new \RuntimeException( implode( ' ', $command ) . " failed: $output" );
		}
	}
}
