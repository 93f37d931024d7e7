<?php
/**
 * What channels, publication keys and markers are called.
 *
 * Names only: who may publish or subscribe is decided elsewhere.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * In a network, every blog but the first puts its number in front, since all of
 * them are one site to the sidecar.
 *
 * @since 0.1.0
 */
final class Channel_Names {

	/**
	 * All public events of a blog.
	 *
	 * @since 0.1.0
	 *
	 * @param int $blog_id The blog.
	 */
	public static function site( int $blog_id ): string {
		return self::is_first( $blog_id ) ? 'site' : "site:$blog_id";
	}

	/**
	 * Public events of one post.
	 *
	 * @since 0.1.0
	 *
	 * @param int $blog_id The blog.
	 * @param int $post_id Its post.
	 */
	public static function post( int $blog_id, int $post_id ): string {
		return 'post:' . self::post_number( $blog_id, $post_id );
	}

	/**
	 * The key of a post's meta value, which is its marker in a page too.
	 *
	 * @since 0.1.0
	 *
	 * @param int    $blog_id  The blog.
	 * @param int    $post_id  Its post.
	 * @param string $meta_key The value's name.
	 */
	public static function post_meta_key( int $blog_id, int $post_id, string $meta_key ): string {
		return self::post_number( $blog_id, $post_id ) . ":$meta_key";
	}

	/**
	 * A post's number, unique in the network.
	 *
	 * @param int $blog_id The blog.
	 * @param int $post_id Its post.
	 */
	private static function post_number( int $blog_id, int $post_id ): string {
		return self::is_first( $blog_id ) ? (string) $post_id : "$blog_id/$post_id";
	}

	/**
	 * Whether a blog is the only one, or the network's first.
	 *
	 * @param int $blog_id The blog.
	 */
	private static function is_first( int $blog_id ): bool {
		return ! is_multisite() || is_main_site( $blog_id );
	}
}
