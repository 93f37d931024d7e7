<?php
/**
 * One change of one post's meta value, as browsers are told of it.
 *
 * A value object: it neither asks whether it may be published nor publishes.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * Carries the state after the change, so that the newest event is all that a
 * reader needs.
 *
 * @since 0.1.0
 */
final class Event {

	const ADDED   = 'added';
	const UPDATED = 'updated';
	const DELETED = 'deleted';

	// A page can show more, yet a message to every reader should not carry it.
	private const MAX_VALUES_BYTES = 16384;

	/**
	 * The blog that the post is of.
	 *
	 * @var int
	 */
	private $blog_id;

	/**
	 * The fields that browsers see.
	 *
	 * @var array
	 */
	private $fields;

	/**
	 * Describes a change.
	 *
	 * @since 0.1.0
	 *
	 * @param string     $op       ADDED, UPDATED or DELETED.
	 * @param int        $blog_id  The blog.
	 * @param int        $post_id  Its post.
	 * @param string     $meta_key The value's name.
	 * @param array|null $values   All values under that name now; null if they must not or can't be told.
	 * @param int        $rev      Taken before the values were read.
	 */
	public function __construct( string $op, int $blog_id, int $post_id, string $meta_key, ?array $values, int $rev ) {
		$this->blog_id = $blog_id;
		$this->fields  = array(
			'type'     => 'post_meta_update',
			'op'       => $op,
			'post_id'  => $post_id,
			'meta_key' => $meta_key,
		);
		$values        = null === $values ? null : self::plain( array_values( $values ) );
		if ( null === $values || self::is_too_large( $values ) ) {
			$this->fields['fetch'] = true;
		} else {
			$this->fields['meta_value'] = $values ? $values[0] : '';
			$this->fields['values']     = $values;
		}
		$this->fields['timestamp'] = current_time( 'mysql' );
		$this->fields['rev']       = $rev;
		$this->fields['id']        = wp_generate_uuid4();
	}

	/**
	 * The fields that browsers see.
	 *
	 * @since 0.1.0
	 */
	public function fields(): array {
		return $this->fields;
	}

	/**
	 * The command that publishes it.
	 *
	 * @since 0.1.0
	 */
	public function command(): array {
		$post_id = $this->fields['post_id'];
		return array(
			'broadcast' => array(
				'channels' => array( Channel_Names::post( $this->blog_id, $post_id ), Channel_Names::site( $this->blog_id ) ),
				'data'     => $this->fields,
				'key'      => Channel_Names::post_meta_key( $this->blog_id, $post_id, $this->fields['meta_key'] ),
				'version'  => $this->fields['rev'],
			),
		);
	}

	/**
	 * Values as they travel: scalars as text, arrays as they are.
	 *
	 * @param array $values One per row.
	 * @return array|null Null if there is anything but scalars and arrays, as an object's fields are its own affair.
	 */
	private static function plain( array $values ): ?array {
		foreach ( $values as $index => $value ) {
			if ( is_scalar( $value ) || null === $value ) {
				$values[ $index ] = (string) $value;
			} elseif ( ! is_array( $value ) || self::holds_objects( $value ) ) {
				return null;
			}
		}
		return $values;
	}

	/**
	 * Whether anything but scalars and arrays is in an array, however deep.
	 *
	 * @param array $value An unserialized value.
	 */
	private static function holds_objects( array $value ): bool {
		$found = false;
		array_walk_recursive(
			$value,
			static function ( $item ) use ( &$found ): void {
				$found = $found || ! ( is_scalar( $item ) || null === $item );
			}
		);
		return $found;
	}

	/**
	 * Whether values are too large for a message, or can't be written as JSON.
	 *
	 * @param array $values Plain values.
	 */
	private static function is_too_large( array $values ): bool {
		$json = wp_json_encode( $values );
		return false === $json || strlen( $json ) > self::MAX_VALUES_BYTES;
	}
}
