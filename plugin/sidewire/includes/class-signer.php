<?php
/**
 * Signs publish requests as Standard Webhooks define it.
 *
 * Pure: no clock, no socket, no WordPress. It does not verify; the sidecar does.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * Holds the keys; one signature each, so that a secret can be changed without
 * a moment in which one side knows only the other one.
 *
 * @since 0.1.0
 */
final class Signer {

	private const PREFIX = 'whsec_';

	/**
	 * The keys as bytes.
	 *
	 * @var string[]
	 */
	private $keys;

	/**
	 * Takes the secrets to sign with.
	 *
	 * @since 0.1.0
	 *
	 * @param string[] $secrets Each `whsec_` and base64.
	 * @throws \InvalidArgumentException If there is none, or one is malformed. The message holds no secret.
	 */
	public function __construct( array $secrets ) {
		$this->keys = array_map( array( self::class, 'key_of' ), array_values( $secrets ) );
		if ( ! $this->keys || in_array( null, $this->keys, true ) ) {
			throw new \InvalidArgumentException( 'a secret is missing or is not whsec_ followed by base64' );
		}
	}

	/**
	 * Whether a secret is well-formed.
	 *
	 * @since 0.1.0
	 *
	 * @param string $secret As it was configured.
	 */
	public static function accepts( string $secret ): bool {
		return null !== self::key_of( $secret );
	}

	/**
	 * The value of `webhook-signature`.
	 *
	 * @since 0.1.0
	 *
	 * @param string $id        The request's `webhook-id`.
	 * @param int    $timestamp Unix seconds, as in `webhook-timestamp`.
	 * @param string $body      The bytes that will be sent.
	 */
	public function sign( string $id, int $timestamp, string $body ): string {
		$signatures = array();
		foreach ( $this->keys as $key ) {
			$signatures[] = 'v1,' . base64_encode( hash_hmac( 'sha256', "$id.$timestamp.$body", $key, true ) );
		}
		return implode( ' ', $signatures );
	}

	/**
	 * The bytes of a secret, or null if it is malformed.
	 *
	 * @param string $secret As it was configured.
	 */
	private static function key_of( string $secret ): ?string {
		if ( 0 !== strpos( $secret, self::PREFIX ) ) {
			return null;
		}
		$key = base64_decode( substr( $secret, strlen( self::PREFIX ) ), true );
		return false === $key || '' === $key ? null : $key;
	}
}
