<?php
/**
 * A temporary folder that goes when its holder does.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests;

/**
 * Its path is short: a Unix socket's path has 107 bytes at most.
 */
final class Folder {

	/**
	 * Absolute, without a slash at its end.
	 *
	 * @var string
	 */
	public $path;

	/**
	 * Makes it.
	 */
	public function __construct() {
		$this->path = sys_get_temp_dir() . '/sidewire-' . bin2hex( random_bytes( 6 ) );
		if ( ! mkdir( $this->path, 0755 ) ) {
			throw new \RuntimeException( "{$this->path} could not be made" );
		}
	}

	/**
	 * Removes it.
	 */
	public function __destruct() {
		exec( 'rm -rf ' . escapeshellarg( $this->path ) );
	}
}
