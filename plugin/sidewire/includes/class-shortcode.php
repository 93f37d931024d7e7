<?php
/**
 * `[sidewire_meta key="price" post="26"]`: a live value within text.
 *
 * Reads the attributes; what is printed is decided by Live_Value.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * `post` may be left out for the post that the text is of.
 *
 * @since 0.1.0
 */
final class Shortcode {

	const TAG = 'sidewire_meta';

	/**
	 * Prints values.
	 *
	 * @var Live_Value
	 */
	private $live_value;

	/**
	 * Takes its parts.
	 *
	 * @since 0.1.0
	 *
	 * @param Live_Value $live_value Prints values.
	 */
	public function __construct( Live_Value $live_value ) {
		$this->live_value = $live_value;
	}

	/**
	 * Connects to WordPress.
	 *
	 * @since 0.1.0
	 */
	public function add_hooks(): void {
		add_shortcode( self::TAG, array( $this, 'render' ) );
	}

	/**
	 * The shortcode's HTML.
	 *
	 * @since 0.1.0
	 *
	 * @param array|string $attributes As written; a string if there are none.
	 */
	public function render( $attributes ): string {
		$attributes = shortcode_atts(
			array(
				'key'  => '',
				'post' => '',
			),
			$attributes,
			self::TAG
		);
		if ( '' !== $attributes['post'] && ! ctype_digit( (string) $attributes['post'] ) ) {
			return '';
		}
		return $this->live_value->render( (string) $attributes['key'], (int) $attributes['post'] );
	}
}
