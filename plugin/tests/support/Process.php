<?php
/**
 * A process that a test starts and that ends with it.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests;

/**
 * Its stdin stays open until it is stopped; its stderr goes where the tests' does.
 */
final class Process {

	/**
	 * Of proc_open().
	 *
	 * @var resource|null
	 */
	private $process;

	/**
	 * Its stdin and stdout.
	 *
	 * @var resource[]
	 */
	private $pipes = array();

	/**
	 * Starts it.
	 *
	 * @param string[]    $command Program and arguments.
	 * @param string|null $errors  A file for its stderr.
	 */
	public function __construct( array $command, ?string $errors = null ) {
		$this->process = proc_open(
			$command,
			array(
				0 => array( 'pipe', 'r' ),
				1 => array( 'pipe', 'w' ),
				2 => null === $errors ? STDERR : array( 'file', $errors, 'a' ),
			),
			$this->pipes
		);
		if ( ! is_resource( $this->process ) ) {
			throw new \RuntimeException( "{$command[0]} could not be started" );
		}
	}

	/**
	 * Stops it.
	 */
	public function __destruct() {
		$this->stop();
	}

	/**
	 * Waits for the next line of its stdout.
	 *
	 * @param float $seconds How long.
	 */
	public function line( float $seconds = 10 ): string {
		$readable = array( $this->pipes[1] );
		$none     = array();
		if ( 1 !== stream_select( $readable, $none, $none, (int) $seconds, (int) ( fmod( $seconds, 1 ) * 1e6 ) ) ) {
			throw new \RuntimeException( "a started process said nothing within $seconds s" );
		}
		return rtrim( (string) fgets( $this->pipes[1] ) );
	}

	/**
	 * Whether it still runs.
	 */
	public function runs(): bool {
		return null !== $this->process && proc_get_status( $this->process )['running'];
	}

	/**
	 * Waits for its end.
	 *
	 * @return array{int, string} Exit code and the rest of its stdout.
	 */
	public function finish(): array {
		fclose( $this->pipes[0] );
		$output = stream_get_contents( $this->pipes[1] );
		fclose( $this->pipes[1] );
		$code          = proc_close( $this->process );
		$this->process = null;
		return array( $code, $output );
	}

	/**
	 * Ends it at once.
	 */
	public function stop(): void {
		if ( null === $this->process ) {
			return;
		}
		proc_terminate( $this->process, 9 );
		array_map( 'fclose', $this->pipes );
		proc_close( $this->process );
		$this->process = null;
	}
}
