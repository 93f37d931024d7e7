<?php
/**
 * Decides when changes are published: once, when the request is over.
 *
 * What changed is known to its sources, how it is sent to the publisher.
 *
 * @package Sidewire
 */

namespace Sidewire;

use Sidewire\Capture\Source;

defined( 'ABSPATH' ) || exit;

/**
 * Earlier only where a process may run for long: on the command line, in cron
 * and in imports.
 *
 * @since 0.1.0
 */
final class Event_Buffer {

	// After output is flushed (1), before most plugins clean up (10).
	private const SHUTDOWN_PRIORITY = 5;

	private const MANY    = 200;
	private const SECONDS = 1.0;

	/**
	 * Where changes are noticed.
	 *
	 * @var Source[]
	 */
	private $sources = array();

	/**
	 * Where events go.
	 *
	 * @var Publisher
	 */
	private $publisher;

	/**
	 * When the oldest change that is not yet published was noted, in nanoseconds of hrtime().
	 *
	 * @var int|null
	 */
	private $since;

	/**
	 * Takes the publisher.
	 *
	 * @since 0.1.0
	 *
	 * @param Publisher $publisher Where events go.
	 */
	public function __construct( Publisher $publisher ) {
		$this->publisher = $publisher;
	}

	/**
	 * Adds a source of changes.
	 *
	 * @since 0.1.0
	 *
	 * @param Source $source Asked at each flush.
	 */
	public function add_source( Source $source ): void {
		$this->sources[] = $source;
	}

	/**
	 * Connects to WordPress.
	 *
	 * @since 0.1.0
	 */
	public function add_hooks(): void {
		add_action( 'shutdown', array( $this, 'flush' ), self::SHUTDOWN_PRIORITY, 0 );
		// For what other plugins change while they shut down; mostly there is nothing.
		add_action( 'shutdown', array( $this, 'flush' ), PHP_INT_MAX, 0 );
	}

	/**
	 * Takes note that a source has something pending.
	 *
	 * @since 0.1.0
	 */
	public function touch(): void {
		$now = hrtime( true );
		if ( null === $this->since ) {
			$this->since = $now;
		}
		if ( ! self::may_run_long() ) {
			return;
		}
		if ( $this->pending() >= self::MANY || ( $now - $this->since ) / 1e9 > self::SECONDS ) {
			$this->flush();
		}
	}

	/**
	 * Publishes what has changed. Never throws.
	 *
	 * @since 0.1.0
	 */
	public function flush(): void {
		try {
			$this->since = null;
			if ( 0 === $this->pending() ) {
				return;
			}
			// Before the state is read: whoever reads later has the greater number.
			$rev    = Revision::next();
			$events = array();
			foreach ( $this->sources as $source ) {
				$events = array_merge( $events, $source->settle( $rev ) );
			}
			$this->publisher->publish( $events, self::may_run_long() );
		} catch ( \Throwable $error ) {
			error_log( 'Sidewire: changes were not published: ' . get_class( $error ) . ': ' . $error->getMessage() );
		}
	}

	/**
	 * How much there is to publish at most.
	 */
	private function pending(): int {
		$count = 0;
		foreach ( $this->sources as $source ) {
			$count += $source->pending();
		}
		return $count;
	}

	/**
	 * Whether this process may go on for long after a change.
	 */
	private static function may_run_long(): bool {
		return 'cli' === PHP_SAPI || wp_doing_cron() || ( defined( 'WP_IMPORTING' ) && WP_IMPORTING );
	}
}
