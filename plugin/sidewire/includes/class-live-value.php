<?php
/**
 * Prints a meta value so that it stays current on the open page.
 *
 * The right value is always printed, so a page without JavaScript is right when
 * it is loaded.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * Used by the shortcode and the template tag.
 *
 * @since 0.1.0
 */
final class Live_Value {

	/**
	 * What may be shown.
	 *
	 * @var Policy
	 */
	private $policy;

	/**
	 * Brings the client.
	 *
	 * @var Assets
	 */
	private $assets;

	/**
	 * Element ids that this page has already: an id may be there once.
	 *
	 * @var array<string, bool>
	 */
	private $ids = array();

	/**
	 * Takes its parts.
	 *
	 * @since 0.1.0
	 *
	 * @param Policy $policy What may be shown.
	 * @param Assets $assets Brings the client.
	 */
	public function __construct( Policy $policy, Assets $assets ) {
		$this->policy = $policy;
		$this->assets = $assets;
	}

	/**
	 * The element that shows a value.
	 *
	 * @since 0.1.0
	 *
	 * @param string            $meta_key The value's name.
	 * @param int|\WP_Post|null $post     The post; null or 0 for the current one.
	 * @return string HTML, escaped; empty if the value is not public.
	 */
	public function render( string $meta_key, $post = null ): string {
		$post = get_post( $post );
		if ( ! $post instanceof \WP_Post || '' === $meta_key || ! $this->policy->is_public( $meta_key, $post ) ) {
			return '';
		}
		$this->assets->require_client();

		$values = $this->policy->told_values( $meta_key, array( get_post_meta( $post->ID, $meta_key, true ) ) );
		$text   = null === $values ? '' : self::text( $values[0] );
		$id     = "meta-value-post-{$post->ID}-$meta_key";
		$marker = Channel_Names::post_meta_key( get_current_blog_id(), (int) $post->ID, $meta_key );
		$html   = '<span';
		// An id has no spaces; and it is only there for front ends that look for it.
		if ( ! isset( $this->ids[ $id ] ) && ! preg_match( '/\s/', $id ) ) {
			$this->ids[ $id ] = true;
			$html            .= ' id="' . esc_attr( $id ) . '"';
		}
		return $html . ' data-sidewire-meta="' . esc_attr( $marker ) . '">' . esc_html( $text ) . '</span>';
	}

	/**
	 * The text of a value, the same that the client writes: a list of scalars
	 * is joined; of anything deeper, the first scalar speaks.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $value As get_post_meta() gives it.
	 */
	public static function text( $value ): string {
		while ( is_array( $value ) ) {
			$scalars = array_filter( $value, static fn( $item ) => is_scalar( $item ) || null === $item );
			if ( count( $scalars ) === count( $value ) ) {
				return implode( ', ', array_map( 'strval', $value ) );
			}
			$value = reset( $value );
		}
		return is_scalar( $value ) ? (string) $value : '';
	}
}
