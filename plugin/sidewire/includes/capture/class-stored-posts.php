<?php
/**
 * Posts and their meta as the database has them at this moment.
 *
 * Past every cache on purpose: a cache may be older than the number that an
 * event is given, and an event would then carry older state under a newer
 * number, or show a post that has just become private.
 *
 * @package Sidewire
 */

namespace Sidewire\Capture;

defined( 'ABSPATH' ) || exit;

/**
 * Two queries for any number of posts of the current blog.
 *
 * @since 0.1.0
 */
final class Stored_Posts {

	/**
	 * By id.
	 *
	 * @var array<int, \WP_Post>
	 */
	private $posts = array();

	/**
	 * As stored: post → key → list.
	 *
	 * @var array<int, array<string, string[]>>
	 */
	private $meta = array();

	/**
	 * Reads.
	 *
	 * @since 0.1.0
	 *
	 * @param int[]    $post_ids  At most some hundreds.
	 * @param string[] $meta_keys Which of their values.
	 * @throws \RuntimeException If the database can't be read. Nothing is known then, least of all that values were deleted.
	 */
	public function __construct( array $post_ids, array $meta_keys ) {
		global $wpdb;

		$list = implode( ',', array_map( 'intval', $post_ids ) );
		foreach ( self::rows( "SELECT * FROM $wpdb->posts WHERE ID IN ($list)" ) as $row ) {
			$this->posts[ (int) $row->ID ] = new \WP_Post( sanitize_post( $row, 'raw' ) );
		}
		$keys = implode( ',', array_fill( 0, count( $meta_keys ), '%s' ) );
		// phpcs:ignore WordPress.DB -- table names, integers and placeholders.
		$sql = $wpdb->prepare( "SELECT post_id, meta_key, meta_value FROM $wpdb->postmeta WHERE post_id IN ($list) AND meta_key IN ($keys) ORDER BY meta_id", array_map( 'strval', $meta_keys ) );
		foreach ( self::rows( $sql ) as $row ) {
			$this->meta[ (int) $row->post_id ][ (string) $row->meta_key ][] = (string) $row->meta_value;
		}
	}

	/**
	 * A post, or null if there is none.
	 *
	 * @since 0.1.0
	 *
	 * @param int $post_id Its number.
	 */
	public function post( int $post_id ): ?\WP_Post {
		return $this->posts[ $post_id ] ?? null;
	}

	/**
	 * The values of a key, as they are stored, the oldest first.
	 *
	 * @since 0.1.0
	 *
	 * @param int    $post_id  The post.
	 * @param string $meta_key The values' name.
	 * @return string[]
	 */
	public function meta( int $post_id, string $meta_key ): array {
		return $this->meta[ $post_id ][ $meta_key ] ?? array();
	}

	/**
	 * The posts that rows of meta belong to.
	 *
	 * @since 0.1.0
	 *
	 * @param array $mids Of the rows.
	 * @return int[]
	 */
	public static function owners( array $mids ): array {
		global $wpdb;

		$post_ids = array();
		foreach ( array_chunk( array_map( 'intval', $mids ), 500 ) as $chunk ) {
			// phpcs:ignore WordPress.DB -- integers, and nothing in core finds posts by the ids of their meta.
			$post_ids = array_merge( $post_ids, $wpdb->get_col( "SELECT DISTINCT post_id FROM $wpdb->postmeta WHERE meta_id IN (" . implode( ',', $chunk ) . ')' ) );
		}
		return array_values( array_unique( array_map( 'intval', $post_ids ) ) );
	}

	/**
	 * Runs a query.
	 *
	 * @param string $sql Complete.
	 * @return object[]
	 * @throws \RuntimeException If it fails.
	 */
	private static function rows( string $sql ): array {
		global $wpdb;

		// query(), since get_results() answers a failed query with the rows of the one before.
		if ( false === $wpdb->query( $sql ) ) { // phpcs:ignore WordPress.DB
			throw new \RuntimeException( 'the database could not be read: ' . $wpdb->last_error );
		}
		return (array) $wpdb->last_result;
	}
}
