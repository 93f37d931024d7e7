<?php
/**
 * Numbers that order what is published.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * Microseconds since 1970, never the same twice and never smaller than before
 * in one process. All processes of a site are on one machine and share its
 * clock. A clock that is set back makes newer events look older for that long.
 *
 * @since 0.1.0
 */
final class Revision {

	/**
	 * The last number given out.
	 *
	 * @var int
	 */
	private static $last = 0;

	/**
	 * A number greater than every one before.
	 *
	 * @since 0.1.0
	 */
	public static function next(): int {
		self::$last = max( self::$last + 1, (int) ( microtime( true ) * 1e6 ) );
		return self::$last;
	}
}
