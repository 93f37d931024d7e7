<?php
/**
 * When X-Forwarded-Proto is believed.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Sidewire\Forwarded_Scheme;

/**
 * Tests Sidewire\Forwarded_Scheme.
 */
final class Forwarded_Scheme_Test extends TestCase {

	/**
	 * Peers, and whether they are this machine.
	 */
	public function peers(): array {
		return array(
			'IPv4 loopback'                 => array( '127.0.0.1', true ),
			'another IPv4 loopback'         => array( '127.8.9.10', true ),
			'IPv6 loopback'                 => array( '::1', true ),
			'IPv4 loopback in IPv6'         => array( '::ffff:127.0.0.1', true ),
			'a Unix socket, as nginx names' => array( 'unix:', true ),
			'a Unix socket, unnamed'        => array( '', true ),
			'a visitor'                     => array( '203.0.113.7', false ),
			'a neighbour'                   => array( '10.0.0.2', false ),
			'an IPv6 visitor'               => array( '2001:db8::1', false ),
			'a visitor in IPv6'             => array( '::ffff:203.0.113.7', false ),
			'a name that looks like it'     => array( '127.0.0.1.example.test', false ),
			'no address'                    => array( '127.', false ),
		);
	}

	/**
	 * @dataProvider peers
	 */
	public function test_believes_this_machine_alone( string $peer, bool $believed ): void {
		$server = array( 'REMOTE_ADDR' => $peer, 'HTTP_X_FORWARDED_PROTO' => 'https' );
		Forwarded_Scheme::apply( $server );
		$this->assertSame( $believed, isset( $server['HTTPS'] ) && 'on' === $server['HTTPS'] );
	}

	public function test_overrules_an_off_that_the_web_server_set(): void {
		$server = array( 'REMOTE_ADDR' => '127.0.0.1', 'HTTP_X_FORWARDED_PROTO' => 'https', 'HTTPS' => 'off' );
		Forwarded_Scheme::apply( $server );
		$this->assertSame( 'on', $server['HTTPS'] );
	}

	/**
	 * Requests that say nothing of HTTPS.
	 */
	public function plain(): array {
		return array(
			'no header'     => array( array( 'REMOTE_ADDR' => '127.0.0.1' ) ),
			'http'          => array( array( 'REMOTE_ADDR' => '127.0.0.1', 'HTTP_X_FORWARDED_PROTO' => 'http' ) ),
			'several'       => array( array( 'REMOTE_ADDR' => '127.0.0.1', 'HTTP_X_FORWARDED_PROTO' => 'https, http' ) ),
			'HTTPS already' => array( array( 'REMOTE_ADDR' => '203.0.113.7', 'HTTPS' => 'on', 'HTTP_X_FORWARDED_PROTO' => 'http' ) ),
			'command line'  => array( array() ),
		);
	}

	/**
	 * @dataProvider plain
	 */
	public function test_changes_nothing_else( array $server ): void {
		$before = $server;
		Forwarded_Scheme::apply( $server );
		$this->assertSame( $before, $server );
	}
}
