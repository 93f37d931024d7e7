<?php
/**
 * Tells WordPress that the visitor came over HTTPS when a proxy on this very
 * machine ended the TLS and passed the request on as plain HTTP.
 *
 * Not needed where PHP-FPM is spoken to directly, as `HTTPS=on` is sent there;
 * it never takes HTTPS away.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * What can be trusted: `X-Forwarded-Proto` is a request header that anybody may
 * send, so it counts only when the connection's other end is this machine:
 * a loopback address, or a Unix socket, which has none. REMOTE_ADDR is that
 * other end unless the web server rewrote it (mod_remoteip, real_ip): it then
 * is the visitor, nobody can tell from PHP who connected, and the header is
 * not believed. Such a server has to say it itself:
 *
 *     SetEnvIf X-Forwarded-Proto "^https$" HTTPS=on
 *
 * What is at stake if another local process sends the header: that one request
 * is answered with https addresses and secure cookies. Nobody gains a right.
 *
 * @since 0.1.0
 */
final class Forwarded_Scheme {

	/**
	 * Sets HTTPS in the server variables if a local proxy says so.
	 *
	 * @since 0.1.0
	 *
	 * @param array $server The server variables, usually $_SERVER.
	 */
	public static function apply( array &$server ): void {
		if ( isset( $server['HTTP_X_FORWARDED_PROTO'] ) && 'https' === $server['HTTP_X_FORWARDED_PROTO'] && self::is_local( $server['REMOTE_ADDR'] ?? '' ) ) {
			$server['HTTPS'] = 'on';
		}
	}

	/**
	 * Whether an address is this machine's own.
	 *
	 * @param string $address As the web server put it into REMOTE_ADDR.
	 */
	private static function is_local( string $address ): bool {
		if ( in_array( $address, array( '', 'unix:', '::1', '0:0:0:0:0:0:0:1' ), true ) ) {
			return true;
		}
		// ::ffff:127.0.0.1 is how a dual-stack listener names an IPv4 peer.
		$address = preg_replace( '/^::ffff:/i', '', $address );
		return false !== filter_var( $address, FILTER_VALIDATE_IP, FILTER_FLAG_IPV4 ) && 0 === strpos( $address, '127.' );
	}
}
