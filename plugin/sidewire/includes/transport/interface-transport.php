<?php
/**
 * A way to the sidecar.
 *
 * @package Sidewire
 */

namespace Sidewire\Transport;

use Sidewire\Deadline;

defined( 'ABSPATH' ) || exit;

/**
 * Carries one request; knows neither events nor keys.
 *
 * @since 0.1.0
 */
interface Transport {

	/**
	 * Sends a request and waits for its answer, no longer than the deadline.
	 *
	 * Never throws: whatever happens is in the reply.
	 *
	 * @since 0.1.0
	 *
	 * @param string   $path     Such as `/api/batch`.
	 * @param string[] $headers  By name.
	 * @param string   $body     JSON.
	 * @param Deadline $deadline For everything together.
	 */
	public function post( string $path, array $headers, string $body, Deadline $deadline ): Reply;

	/**
	 * Where requests go, for the log.
	 *
	 * @since 0.1.0
	 */
	public function address(): string;
}
