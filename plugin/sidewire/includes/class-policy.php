<?php
/**
 * What may be shown to everybody.
 *
 * One rule for publishing and for printing: what a visitor may not see on a
 * page is never sent to one, and the other way round.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * A meta value of a post is public if its key is not protected, and is allowed
 * by the owner or shown by the REST API to everybody, and if everybody may view
 * the post.
 *
 * @since 0.1.0
 */
final class Policy {

	/**
	 * Types that REST shows as they are stored. Of arrays and objects it may show a part.
	 */
	private const SCALAR_TYPES = array( 'string', 'boolean', 'integer', 'number' );

	/**
	 * The settings.
	 *
	 * @var Config
	 */
	private $config;

	/**
	 * Takes the settings.
	 *
	 * @since 0.1.0
	 *
	 * @param Config $config Names the allowed keys.
	 */
	public function __construct( Config $config ) {
		$this->config = $config;
	}

	/**
	 * Whether a key could be public on some post: cheap, for the hooks that see
	 * every key there is.
	 *
	 * @since 0.1.0
	 *
	 * @param string $meta_key The value's name.
	 */
	public function may_concern( string $meta_key ): bool {
		global $wp_meta_keys;

		if ( is_protected_meta( $meta_key, 'post' ) ) {
			return false;
		}
		if ( $this->is_allowed( $meta_key ) ) {
			return true;
		}
		foreach ( $wp_meta_keys['post'] ?? array() as $keys ) {
			if ( ! empty( $keys[ $meta_key ]['show_in_rest'] ) ) {
				return true;
			}
		}
		return false;
	}

	/**
	 * Whether a meta value of a post is public, as the post is now.
	 *
	 * @since 0.1.0
	 *
	 * @param string   $meta_key The value's name.
	 * @param \WP_Post $post     The post.
	 */
	public function is_public( string $meta_key, \WP_Post $post ): bool {
		if ( ! $this->may_concern( $meta_key ) || ! $this->is_public_post( $post ) ) {
			return false;
		}
		if ( ! $this->is_allowed( $meta_key ) && ! $this->is_shown_in_rest( $meta_key, $post->post_type ) ) {
			return false;
		}
		/**
		 * Keeps a meta value from being captured, published and printed.
		 *
		 * It can only refuse: what the rule refuses is not asked for.
		 *
		 * @since 0.1.0
		 *
		 * @param bool   $capture   True.
		 * @param string $type      `post`.
		 * @param int    $object_id The post.
		 * @param string $meta_key  The value's name.
		 */
		return (bool) apply_filters( 'sidewire_should_capture_meta', true, 'post', (int) $post->ID, $meta_key );
	}

	/**
	 * The values of a public key that may be told.
	 *
	 * @since 0.1.0
	 *
	 * @param string $meta_key The values' name, which is public.
	 * @param array  $values   As PHP has them.
	 * @return array|null Null if they may not: REST, too, shows no array under a key that is registered as text.
	 */
	public function told_values( string $meta_key, array $values ): ?array {
		return $this->is_allowed( $meta_key ) || array_filter( $values, 'is_scalar' ) === $values ? $values : null;
	}

	/**
	 * Whether everybody may view a post, without a password.
	 *
	 * @param \WP_Post $post The post.
	 */
	private function is_public_post( \WP_Post $post ): bool {
		return '' === (string) $post->post_password && 'revision' !== $post->post_type && is_post_publicly_viewable( $post );
	}

	/**
	 * Whether the owner allows a key.
	 *
	 * @param string $meta_key The value's name.
	 */
	private function is_allowed( string $meta_key ): bool {
		/**
		 * The meta keys that may be published, besides those that REST shows.
		 *
		 * @since 0.1.0
		 *
		 * @param string[] $keys As they are configured.
		 */
		$keys = apply_filters( 'sidewire_meta_keys', $this->config->meta_keys() );
		return is_array( $keys ) && in_array( $meta_key, array_filter( $keys, 'is_string' ), true );
	}

	/**
	 * Whether the REST API shows a key to everybody, just as it is stored.
	 *
	 * @param string $meta_key  The value's name.
	 * @param string $post_type Its post's type.
	 */
	private function is_shown_in_rest( string $meta_key, string $post_type ): bool {
		$type = get_post_type_object( $post_type );
		if ( null === $type || ! $type->show_in_rest || ! post_type_supports( $post_type, 'custom-fields' ) ) {
			return false;
		}
		$registered = get_registered_meta_keys( 'post', $post_type ) + get_registered_meta_keys( 'post' );
		$args       = $registered[ $meta_key ] ?? array();
		$rest       = $args['show_in_rest'] ?? false;
		if ( ! $rest ) {
			return false;
		}
		$rest   = is_array( $rest ) ? $rest : array();
		$schema = isset( $rest['schema'] ) && is_array( $rest['schema'] ) ? $rest['schema'] : array();
		if ( isset( $rest['prepare_callback'] ) || ( isset( $schema['context'] ) && ! in_array( 'view', (array) $schema['context'], true ) ) ) {
			return false;
		}
		return in_array( $schema['type'] ?? ( $args['type'] ?? '' ), self::SCALAR_TYPES, true );
	}
}
