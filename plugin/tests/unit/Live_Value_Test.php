<?php
/**
 * The text of a value, which must be what the browser client writes.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Sidewire\Live_Value;

/**
 * Tests Sidewire\Live_Value::text(); its HTML is tested with WordPress.
 */
final class Live_Value_Test extends TestCase {

	/**
	 * Values and their text.
	 */
	public function values(): array {
		return array(
			'text'                => array( '42.50', '42.50' ),
			'a number'            => array( 7, '7' ),
			'true'                => array( true, '1' ),
			'false'               => array( false, '' ),
			'nothing'             => array( null, '' ),
			'a list'              => array( array( 'red', 2, null, true ), 'red, 2, , 1' ),
			'names and values'    => array( array( 'a' => 'x', 'b' => 'y' ), 'x, y' ),
			'deep'                => array( array( array( 'x', array( 'no' ) ), 'y' ), 'x' ),
			'a list in a list'    => array( array( array( 'x', 'y' ), 'z' ), 'x, y' ),
			'an empty list'       => array( array(), '' ),
			'an object'           => array( new \ArrayObject( array( 'secret' ) ), '' ),
			'an object in a list' => array( array( new \stdClass(), 'x' ), '' ),
		);
	}

	/**
	 * @dataProvider values
	 */
	public function test_text_is_that_of_the_client( $value, string $text ): void {
		$this->assertSame( $text, Live_Value::text( $value ) );
	}
}
