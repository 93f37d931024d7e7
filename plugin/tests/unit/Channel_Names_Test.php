<?php
/**
 * What channels and keys are called, alone and in a network.
 *
 * @package Sidewire
 */

namespace Sidewire {

	/**
	 * Stands for WordPress's own; found first by code of this namespace.
	 */
	function is_multisite(): bool {
		return Tests\Unit\Channel_Names_Test::$is_network;
	}

	/**
	 * Stands for WordPress's own: the network's first blog is 1.
	 */
	function is_main_site( int $blog_id ): bool {
		return 1 === $blog_id;
	}
}

namespace Sidewire\Tests\Unit {

	use PHPUnit\Framework\TestCase;
	use Sidewire\Channel_Names;

	/**
	 * Tests Sidewire\Channel_Names.
	 */
	final class Channel_Names_Test extends TestCase {

		/**
		 * Whether WordPress is said to be a network.
		 *
		 * @var bool
		 */
		public static $is_network = false;

		/**
		 * Blogs: in a network or not, number, names.
		 */
		public function blogs(): array {
			return array(
				'the only blog'      => array( false, 1, array( 'site', 'post:26', '26:price' ) ),
				'a network\'s first' => array( true, 1, array( 'site', 'post:26', '26:price' ) ),
				'another of it'      => array( true, 2, array( 'site:2', 'post:2/26', '2/26:price' ) ),
			);
		}

		/**
		 * @dataProvider blogs
		 */
		public function test_blogs_of_a_network_but_the_first_put_their_number_in_front( bool $is_network, int $blog, array $names ): void {
			self::$is_network = $is_network;
			$this->assertSame( $names, array( Channel_Names::site( $blog ), Channel_Names::post( $blog, 26 ), Channel_Names::post_meta_key( $blog, 26, 'price' ) ) );
		}
	}
}
