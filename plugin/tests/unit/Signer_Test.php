<?php
/**
 * Signatures, against the vectors that Rust and JavaScript read too.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Sidewire\Signer;

/**
 * Tests Sidewire\Signer.
 */
final class Signer_Test extends TestCase {

	/**
	 * The cases by name.
	 */
	public function vectors(): array {
		$file  = dirname( __DIR__, 3 ) . '/tests/vectors/signatures.json';
		$cases = json_decode( (string) file_get_contents( $file ), true )['cases'];
		return array_combine( array_column( $cases, 'name' ), array_map( static fn( $one ) => array( $one ), $cases ) );
	}

	/**
	 * What is signed here is what the vector accepts, and nothing else.
	 *
	 * @dataProvider vectors
	 */
	public function test_signs_as_the_shared_vectors_do( array $vector ): void {
		$signature = ( new Signer( array( $vector['secret'] ) ) )->sign( $vector['id'], $vector['timestamp'], $vector['body'] );
		$this->assertSame( $vector['valid'], in_array( $signature, explode( ' ', $vector['signature'] ), true ), $signature );
	}

	public function test_vectors_are_many_enough_to_mean_something(): void {
		$this->assertGreaterThan( 10, count( $this->vectors() ) );
	}

	public function test_gives_one_signature_for_each_secret_while_it_rotates(): void {
		$one  = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
		$two  = 'whsec_YSBzZWNvbmQgc2VjcmV0LCAyNCBieXRlcw==';
		$both = ( new Signer( array( $one, $two ) ) )->sign( 'batch_0123456789abcdef', 1, '{}' );
		$this->assertSame(
			( new Signer( array( $one ) ) )->sign( 'batch_0123456789abcdef', 1, '{}' ) . ' ' . ( new Signer( array( $two ) ) )->sign( 'batch_0123456789abcdef', 1, '{}' ),
			$both
		);
	}

	/**
	 * Secrets that are none.
	 */
	public function malformed(): array {
		return array(
			'no prefix'  => array( 'AAECAwQFBgc=' ),
			'no base64'  => array( 'whsec_not base64!' ),
			'empty'      => array( 'whsec_' ),
			'other kind' => array( 'whpk_AAECAwQFBgc=' ),
		);
	}

	/**
	 * @dataProvider malformed
	 */
	public function test_refuses_a_malformed_secret_without_showing_it( string $secret ): void {
		$this->assertFalse( Signer::accepts( $secret ) );
		try {
			new Signer( array( $secret ) );
			$this->fail( 'it was accepted' );
		} catch ( \InvalidArgumentException $error ) {
			$this->assertSame( 'a secret is missing or is not whsec_ followed by base64', $error->getMessage() );
		}
	}

	public function test_refuses_to_sign_without_a_secret(): void {
		$this->expectException( \InvalidArgumentException::class );
		new Signer( array() );
	}
}
