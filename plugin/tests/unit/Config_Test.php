<?php
/**
 * Settings: defaults, forms, and what is said of those that can't be used.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Sidewire\Config;
use Sidewire\Tests\Folder;

/**
 * Tests Sidewire\Config.
 */
final class Config_Test extends TestCase {

	private const SECRET = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';

	/**
	 * A configuration of given values.
	 *
	 * @param array $values By name.
	 */
	private function config( array $values ): Config {
		return new Config( static fn( $name ) => $values[ $name ] ?? null );
	}

	public function test_has_defaults_for_all_but_the_secret(): void {
		$config = $this->config( array() );
		$this->assertSame( '/run/sidewire/publish.sock', $config->socket() );
		$this->assertSame( '/realtime', $config->path() );
		$this->assertSame( 100, $config->timeout_ms() );
		$this->assertSame( array(), $config->meta_keys() );
		$this->assertFalse( $config->is_disabled() );
		$this->assertSame( array(), $config->secrets() );
		$this->assertCount( 1, $config->faults() );
		$this->assertStringContainsString( 'SIDEWIRE_SECRET is not set', $config->faults()[0] );
	}

	public function test_takes_meta_keys_as_text_and_as_a_list(): void {
		$this->assertSame( array( 'price', 'stock', '7' ), $this->config( array( 'META_KEYS' => 'price, stock,,7,price' ) )->meta_keys() );
		$this->assertSame( array( 'price', 'stock' ), $this->config( array( 'META_KEYS' => array( 'price', 'stock' ) ) )->meta_keys() );
	}

	public function test_takes_several_secrets_while_one_replaces_the_other(): void {
		$this->assertSame( array( self::SECRET, self::SECRET ), $this->config( array( 'SECRET' => self::SECRET . ' ' . self::SECRET ) )->secrets() );
	}

	public function test_reads_the_secret_from_its_file(): void {
		$folder = new Folder();
		file_put_contents( "{$folder->path}/secret", self::SECRET . "\n" );
		$config = $this->config( array( 'SECRET_FILE' => "{$folder->path}/secret" ) );
		$this->assertSame( array( self::SECRET ), $config->secrets() );
		$this->assertSame( array(), $config->faults() );
	}

	/**
	 * Values that can't be used: name, value, what is said, what is used.
	 */
	public function unusable(): array {
		return array(
			'a relative socket'   => array( 'SOCKET', 'run/publish.sock', 'an absolute path', 'socket', '/run/sidewire/publish.sock' ),
			'too long a socket'   => array( 'SOCKET', '/' . str_repeat( 's', 107 ), 'at most 107 bytes', 'socket', '/run/sidewire/publish.sock' ),
			'a socket that is no text' => array( 'SOCKET', array( 1 ), 'an absolute path', 'socket', '/run/sidewire/publish.sock' ),
			'a path without slash' => array( 'PATH', 'realtime', 'begins with one slash', 'path', '/realtime' ),
			'another host'        => array( 'PATH', '//evil.test/', 'begins with one slash', 'path', '/realtime' ),
			'markup'              => array( 'PATH', '/"><script>', 'begins with one slash', 'path', '/realtime' ),
			'too long a time'     => array( 'TIMEOUT_MS', '5000', '5 to 1000 milliseconds', 'timeout_ms', 100 ),
			'no time'             => array( 'TIMEOUT_MS', 0, '5 to 1000 milliseconds', 'timeout_ms', 100 ),
			'time that is none'   => array( 'TIMEOUT_MS', 'soon', '5 to 1000 milliseconds', 'timeout_ms', 100 ),
		);
	}

	/**
	 * @dataProvider unusable
	 */
	public function test_names_a_value_that_cannot_be_used_and_goes_on_with_the_default( string $name, $value, string $expected, string $method, $used ): void {
		$config = $this->config( array( $name => $value, 'SECRET' => self::SECRET ) );
		$this->assertSame( $used, $config->$method() );
		$this->assertCount( 1, $config->faults() );
		$this->assertStringContainsString( "SIDEWIRE_$name = ", $config->faults()[0] );
		$this->assertStringContainsString( $expected, $config->faults()[0] );
	}

	public function test_accepts_what_it_says_is_expected(): void {
		$config = $this->config( array( 'SOCKET' => '/' . str_repeat( 's', 106 ), 'PATH' => '/live/feed', 'TIMEOUT_MS' => '5', 'SECRET' => self::SECRET, 'DISABLED' => '1' ) );
		$this->assertSame( array(), $config->faults() );
		$this->assertSame( 107, strlen( $config->socket() ) );
		$this->assertSame( '/live/feed', $config->path() );
		$this->assertSame( 5, $config->timeout_ms() );
		$this->assertTrue( $config->is_disabled() );
	}

	public function test_never_shows_a_secret(): void {
		$faults = $this->config( array( 'SECRET' => 'whsec_my/secret/is/this!' ) )->faults();
		$this->assertCount( 1, $faults );
		$this->assertStringNotContainsString( 'my/secret', $faults[0] );
		$this->assertStringContainsString( 'whsec_ followed by base64', $faults[0] );
	}

	public function test_names_a_secret_file_that_is_not_there(): void {
		$faults = $this->config( array( 'SECRET_FILE' => '/nonexistent/secret' ) )->faults();
		$this->assertCount( 1, $faults );
		$this->assertStringContainsString( 'SIDEWIRE_SECRET_FILE = "/nonexistent/secret"', $faults[0] );
	}
}
