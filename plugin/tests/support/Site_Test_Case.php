<?php
/**
 * What the tests with a real WordPress have in common.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests;

use PHPUnit\Framework\TestCase;

/**
 * Each test has a sidecar of its own and the site of the run, and leaves no
 * complaint of the plugin in PHP's log.
 */
abstract class Site_Test_Case extends TestCase {

	/**
	 * The keys that the owner allows in these tests.
	 */
	const ALLOWED = 'price,stock,colour,note,old_name,new_name,7,_hidden';

	/**
	 * The site.
	 *
	 * @var Site
	 */
	protected $site;

	/**
	 * Answers "ok" unless a test says otherwise.
	 *
	 * @var Sidecar
	 */
	protected $sidecar;

	/**
	 * Environment of the requests.
	 *
	 * @var string[]
	 */
	protected $environment;

	protected function setUp(): void {
		$this->site        = Site::instance();
		$this->sidecar     = new Sidecar( 'ok' );
		$this->environment = array(
			'SIDEWIRE_SOCKET'    => $this->sidecar->socket,
			'SIDEWIRE_SECRET'    => Sidecar::SECRET,
			'SIDEWIRE_META_KEYS' => self::ALLOWED,
			// A busy machine may be late: tests of the time itself take this away.
			'SIDEWIRE_TIMEOUT_MS' => '1000',
		);
		$this->site->take_log();
	}

	/**
	 * Makes the plugin's stored state that of a new installation.
	 */
	protected function forget(): void {
		$this->site->request( 'delete_option( "sidewire_settings" ); delete_option( "sidewire_failure" ); Sidewire\Plugin::activate();' );
	}

	protected function assertPostConditions(): void {
		$ours = array_filter( $this->site->take_log(), static fn( $line ) => false !== strpos( $line, 'plugins/sidewire' ) || 0 === strpos( $line, 'Sidewire: ' ) );
		$this->assertSame( array(), array_values( $ours ), 'the plugin left something in PHP\'s log' );
	}

	/**
	 * Runs code in a request of the web.
	 *
	 * @param string $code   PHP; what it returns is returned.
	 * @param array  $given  Variables for it, by name.
	 * @param array  $server Server variables, by name.
	 * @return mixed
	 */
	protected function request( string $code, array $given = array(), array $server = array() ) {
		return $this->site->request( $code, $given, $this->environment, $server );
	}

	/**
	 * Makes a post, without publishing anything.
	 *
	 * @param array $fields As of wp_insert_post().
	 * @return int Its number.
	 */
	protected function post( array $fields = array() ): int {
		return $this->site->request(
			'return wp_insert_post( wp_slash( $fields ), true );',
			array( 'fields' => $fields + array( 'post_title' => 'A post', 'post_status' => 'publish' ) ),
			array( 'SIDEWIRE_DISABLED' => '1' )
		);
	}

	/**
	 * The events so far, as "op post:key value|value", the post's number as #1, #2 … of those given.
	 *
	 * @param int ...$posts Their numbers.
	 * @return string[]
	 */
	protected function events( int ...$posts ): array {
		$lines = array();
		foreach ( $this->sidecar->events() as $event ) {
			$index   = array_search( $event['post_id'], $posts, true );
			$lines[] = sprintf( '%s #%s:%s %s', $event['op'], false === $index ? "({$event['post_id']})" : $index + 1, $event['meta_key'], isset( $event['values'] ) ? implode( '|', array_map( static fn( $value ) => is_string( $value ) ? $value : json_encode( $value ), $event['values'] ) ) : 'not told' );
		}
		return array_map( 'rtrim', $lines );
	}
}
