<?php
/**
 * Makes core blocks live that are bound to post meta.
 *
 * Nothing is to be done in the editor: a paragraph, heading or button whose
 * text is bound to `core/post-meta` gets the marker. Only text is marked;
 * addresses and other attributes are not.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * Block bindings came with WordPress 6.5; before, this does nothing.
 *
 * @since 0.1.0
 */
final class Bindings_Marker {

	/**
	 * By block: the attribute that is its text, and the elements that hold it (null: the outermost).
	 */
	private const TEXTS = array(
		'core/paragraph' => array( 'content', null ),
		'core/heading'   => array( 'content', null ),
		'core/button'    => array( 'text', array( 'A', 'BUTTON' ) ),
	);

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
	 * Connects to WordPress.
	 *
	 * @since 0.1.0
	 */
	public function add_hooks(): void {
		if ( function_exists( 'register_block_bindings_source' ) && class_exists( 'WP_HTML_Tag_Processor' ) ) {
			add_filter( 'render_block', array( $this, 'mark' ), 10, 3 );
		}
	}

	/**
	 * Marks a block's element.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed          $html     The block's HTML.
	 * @param array          $block    As parsed.
	 * @param \WP_Block|null $instance With its context.
	 * @return mixed
	 */
	public function mark( $html, $block, $instance = null ) {
		$name = $block['blockName'] ?? '';
		if ( ! is_string( $html ) || ! isset( self::TEXTS[ $name ] ) ) {
			return $html;
		}
		list( $attribute, $elements ) = self::TEXTS[ $name ];

		$meta_key = self::bound_key( $block, $attribute );
		$post     = null === $meta_key ? null : get_post( $instance->context['postId'] ?? 0 );
		if ( ! $post instanceof \WP_Post || ! self::is_bound_by_core( $meta_key, $post ) || ! $this->policy->is_public( $meta_key, $post ) ) {
			return $html;
		}
		$tags = new \WP_HTML_Tag_Processor( $html );
		while ( $tags->next_tag() ) {
			if ( null === $elements || in_array( $tags->get_tag(), $elements, true ) ) {
				$tags->set_attribute( 'data-sidewire-meta', Channel_Names::post_meta_key( get_current_blog_id(), (int) $post->ID, $meta_key ) );
				$this->assets->require_client();
				return $tags->get_updated_html();
			}
		}
		return $html;
	}

	/**
	 * The meta key that a block's text is bound to.
	 *
	 * @param array  $block     As parsed.
	 * @param string $attribute The attribute that is its text.
	 */
	private static function bound_key( array $block, string $attribute ): ?string {
		$binding = $block['attrs']['metadata']['bindings'][ $attribute ] ?? null;
		$key     = is_array( $binding ) && 'core/post-meta' === ( $binding['source'] ?? '' ) ? ( $binding['args']['key'] ?? null ) : null;
		return is_string( $key ) && '' !== $key ? $key : null;
	}

	/**
	 * Whether core prints the value there: of an unregistered key it leaves the
	 * text as it was written, and that must not change either.
	 *
	 * @param string   $meta_key The value's name.
	 * @param \WP_Post $post     The post.
	 */
	private static function is_bound_by_core( string $meta_key, \WP_Post $post ): bool {
		$registered = get_registered_meta_keys( 'post', $post->post_type ) + get_registered_meta_keys( 'post' );
		return ! empty( $registered[ $meta_key ]['show_in_rest'] );
	}
}
