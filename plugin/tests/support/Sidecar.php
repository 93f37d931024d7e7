<?php
/**
 * Starts the stand-in for the sidecar, and tells what it was asked.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests;

/**
 * See sidecar-stand-in.php for the modes.
 */
final class Sidecar {

	const SECRET = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';

	/**
	 * Path of its socket.
	 *
	 * @var string
	 */
	public $socket;

	/**
	 * Holds socket and record.
	 *
	 * @var Folder
	 */
	private $folder;

	/**
	 * The stand-in.
	 *
	 * @var Process
	 */
	private $process;

	/**
	 * Starts it, and waits until it listens.
	 *
	 * @param string $mode See sidecar-stand-in.php.
	 */
	public function __construct( string $mode = 'ok' ) {
		$this->folder = new Folder();
		$this->socket = $this->folder->path . '/publish.sock';
		$this->start( $mode );
	}

	/**
	 * Starts it once more, in another mode.
	 *
	 * @param string $mode See sidecar-stand-in.php.
	 */
	public function restart( string $mode ): void {
		$this->stop();
		unlink( $this->socket );
		$this->start( $mode );
	}

	/**
	 * Ends it; its socket's file stays, as when a process is killed.
	 */
	public function stop(): void {
		$this->process->stop();
	}

	/**
	 * The requests so far.
	 *
	 * @return array[] Each with request, headers and body.
	 */
	public function requests(): array {
		$lines = is_file( $this->record() ) ? file( $this->record() ) : array();
		return array_map( static fn( $line ) => json_decode( $line, true ), $lines );
	}

	/**
	 * The events of all requests, in order.
	 *
	 * @return array[]
	 */
	public function events(): array {
		$events = array();
		foreach ( $this->requests() as $request ) {
			foreach ( json_decode( $request['body'], true )['commands'] as $command ) {
				$events[] = $command['broadcast']['data'];
			}
		}
		return $events;
	}

	/**
	 * Starts the process.
	 *
	 * @param string $mode See sidecar-stand-in.php.
	 */
	private function start( string $mode ): void {
		$this->process = new Process( array( PHP_BINARY, __DIR__ . '/sidecar-stand-in.php', $this->socket, $this->record(), $mode ) );
		if ( 'ready' !== $this->process->line() ) {
			throw new \RuntimeException( 'the stand-in for the sidecar did not start' );
		}
	}

	/**
	 * Where requests are written to.
	 */
	private function record(): string {
		return $this->folder->path . '/requests';
	}
}
