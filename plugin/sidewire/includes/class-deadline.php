<?php
/**
 * A moment after which a wait has to end.
 *
 * Measured with the monotonic clock, which no clock adjustment moves.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * One budget of time, shared by all steps that have to fit into it.
 *
 * @since 0.1.0
 */
final class Deadline {

	/**
	 * The moment, in nanoseconds of hrtime().
	 *
	 * @var int
	 */
	private $end;

	/**
	 * Starts the budget.
	 *
	 * @since 0.1.0
	 *
	 * @param float $milliseconds From now on.
	 */
	public function __construct( float $milliseconds ) {
		$this->end = hrtime( true ) + (int) ( $milliseconds * 1e6 );
	}

	/**
	 * What is left, in seconds, never below zero.
	 *
	 * @since 0.1.0
	 */
	public function left(): float {
		return max( 0, $this->end - hrtime( true ) ) / 1e9;
	}
}
