<?php
/**
 * Remembers across requests that the sidecar fails.
 *
 * It makes a failure be logged once however long it lasts, and keeps a sidecar
 * that is silent from costing every save its time-out. A failure that costs no
 * time never stops the next attempt.
 *
 * @package Sidewire
 */

namespace Sidewire;

use Sidewire\Transport\Reply;

defined( 'ABSPATH' ) || exit;

/**
 * State is in one autoloaded option, empty while all is well: the good case
 * writes nothing and reads what WordPress has loaded already.
 *
 * @since 0.1.0
 */
final class Circuit_Breaker {

	const OPTION = 'sidewire_failure';

	// A single time-out may be a busy moment.
	private const TIMEOUTS = 3;

	private const MIN_PAUSE = 5;
	private const MAX_PAUSE = 60;

	/**
	 * Whether to try at all. To be asked once before each attempt: when a pause
	 * is over, the first to ask may try, and the others go on pausing.
	 *
	 * @since 0.1.0
	 */
	public function allows(): bool {
		$state = $this->state();
		if ( null === $state || $state['timeouts'] < self::TIMEOUTS ) {
			return true;
		}
		if ( time() < $state['until'] ) {
			return false;
		}
		$state['pause'] = min( self::MAX_PAUSE, 2 * $state['pause'] );
		$state['until'] = time() + $state['pause'];
		update_option( self::OPTION, $state );
		return true;
	}

	/**
	 * Takes note of a success.
	 *
	 * @since 0.1.0
	 */
	public function succeeded(): void {
		$state = $this->state();
		if ( null !== $state ) {
			update_option( self::OPTION, array() );
			error_log( sprintf( 'Sidewire: publishing works again, after %d seconds.', max( 0, time() - $state['since'] ) ) );
		}
	}

	/**
	 * Takes note of a failure, and logs it if it is the first of its spell.
	 *
	 * @since 0.1.0
	 *
	 * @param string|null $failure A constant of Reply; null if nothing was tried.
	 * @param string      $message What failed, and what to do.
	 */
	public function failed( ?string $failure, string $message ): void {
		$state = $this->state();
		$known = null !== $state;
		$state = $state ?? array(
			'since'    => time(),
			'timeouts' => 0,
			'pause'    => self::MIN_PAUSE,
			'until'    => 0,
			'message'  => $message,
		);
		if ( ! $known ) {
			error_log( "Sidewire: $message Logged once until publishing works again." );
		}
		$counts = Reply::TIMEOUT === $failure && $state['timeouts'] < self::TIMEOUTS;
		if ( $counts ) {
			++$state['timeouts'];
			$state['until'] = time() + $state['pause'];
		}
		// Not at each failure: an option written is a query.
		if ( ! $known || $counts ) {
			update_option( self::OPTION, $state );
		}
	}

	/**
	 * What is remembered, if there is a failure.
	 *
	 * @return array|null
	 */
	private function state(): ?array {
		$state = get_option( self::OPTION );
		return is_array( $state ) && isset( $state['since'], $state['timeouts'], $state['pause'], $state['until'] ) ? $state : null;
	}
}
