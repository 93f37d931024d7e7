<?php
/**
 * Something that notices changes.
 *
 * @package Sidewire
 */

namespace Sidewire\Capture;

use Sidewire\Event;

defined( 'ABSPATH' ) || exit;

/**
 * Notes what may have changed while WordPress works, and says what did when it
 * is asked.
 *
 * @since 0.1.0
 */
interface Source {

	/**
	 * How many things may have changed since the last settle().
	 *
	 * @since 0.1.0
	 */
	public function pending(): int;

	/**
	 * Reads the state of what may have changed, and forgets it.
	 *
	 * @since 0.1.0
	 *
	 * @param int $rev Taken before, as a newer number must not carry older state.
	 * @return Event[] One for each that did change and is public.
	 */
	public function settle( int $rev ): array;
}
