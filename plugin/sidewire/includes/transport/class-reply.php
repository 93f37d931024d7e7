<?php
/**
 * What came of one request to the sidecar.
 *
 * A value: it decides nothing about retrying or logging.
 *
 * @package Sidewire
 */

namespace Sidewire\Transport;

defined( 'ABSPATH' ) || exit;

/**
 * Either a status from the sidecar, or the reason why there is none.
 *
 * @since 0.1.0
 */
final class Reply {

	// There is no sidecar to talk to: no socket, nobody listening, no right. Costs no time.
	const UNREACHABLE = 'unreachable';

	// The time was used up. The request may have been taken all the same.
	const TIMEOUT = 'timeout';

	// The connection ended before there was a reply that can be read.
	const BROKEN = 'broken';

	// The sidecar answered, and not with success.
	const REFUSED = 'refused';

	/**
	 * HTTP status; 0 when there was none.
	 *
	 * @var int
	 */
	private $status;

	/**
	 * The JSON object that came with it, or an empty array.
	 *
	 * @var array
	 */
	private $body;

	/**
	 * One of the constants above, or null on success.
	 *
	 * @var string|null
	 */
	private $failure;

	/**
	 * What happened, for the log.
	 *
	 * @var string
	 */
	private $detail;

	/**
	 * Use answered() or failed().
	 *
	 * @param int         $status  HTTP status or 0.
	 * @param array       $body    Decoded JSON.
	 * @param string|null $failure A constant of this class.
	 * @param string      $detail  For the log.
	 */
	private function __construct( int $status, array $body, ?string $failure, string $detail ) {
		$this->status  = $status;
		$this->body    = $body;
		$this->failure = $failure;
		$this->detail  = $detail;
	}

	/**
	 * The sidecar answered.
	 *
	 * @since 0.1.0
	 *
	 * @param int    $status HTTP status.
	 * @param string $body   As it came.
	 */
	public static function answered( int $status, string $body ): self {
		$json  = json_decode( $body, true );
		$json  = is_array( $json ) ? $json : array();
		$error = self::first_error( $json );
		if ( 200 === $status && null === $error ) {
			return new self( $status, $json, null, '' );
		}
		$detail = "HTTP $status";
		if ( null !== $error ) {
			$detail .= sprintf( ', error %d: %s', (int) ( $error['code'] ?? 0 ), is_string( $error['message'] ?? null ) ? substr( $error['message'], 0, 300 ) : 'without a message' );
		}
		return new self( $status, $json, self::REFUSED, $detail );
	}

	/**
	 * There was no answer.
	 *
	 * @since 0.1.0
	 *
	 * @param string $failure UNREACHABLE, TIMEOUT or BROKEN.
	 * @param string $detail  For the log.
	 */
	public static function failed( string $failure, string $detail ): self {
		return new self( 0, array(), $failure, $detail );
	}

	/**
	 * Whether everything asked for was done.
	 *
	 * @since 0.1.0
	 */
	public function is_success(): bool {
		return null === $this->failure;
	}

	/**
	 * HTTP status, or 0.
	 *
	 * @since 0.1.0
	 */
	public function status(): int {
		return $this->status;
	}

	/**
	 * Why it did not succeed: a constant of this class, or null.
	 *
	 * @since 0.1.0
	 */
	public function failure(): ?string {
		return $this->failure;
	}

	/**
	 * What happened, for the log.
	 *
	 * @since 0.1.0
	 */
	public function detail(): string {
		return $this->detail;
	}

	/**
	 * The code of the first error in the reply, of the whole or of one command.
	 *
	 * @since 0.1.0
	 */
	public function error_code(): ?int {
		$error = self::first_error( $this->body );
		return isset( $error['code'] ) ? (int) $error['code'] : null;
	}

	/**
	 * The second from which on the sidecar takes requests, if it named one.
	 *
	 * @since 0.1.0
	 */
	public function not_before(): ?int {
		$second = $this->body['error']['not_before'] ?? null;
		return is_int( $second ) ? $second : null;
	}

	/**
	 * Finds an error in a reply.
	 *
	 * A batch answers 200 though some of its commands failed, and so does a
	 * broadcast for some of its channels.
	 *
	 * @param array $json Decoded reply.
	 */
	private static function first_error( array $json ): ?array {
		if ( isset( $json['error'] ) ) {
			return is_array( $json['error'] ) ? $json['error'] : array();
		}
		$parts = $json['replies'] ?? ( $json['result']['responses'] ?? ( $json['broadcast']['responses'] ?? array() ) );
		foreach ( is_array( $parts ) ? $parts : array() as $part ) {
			$error = is_array( $part ) ? self::first_error( $part ) : null;
			if ( null !== $error ) {
				return $error;
			}
		}
		return null;
	}
}
