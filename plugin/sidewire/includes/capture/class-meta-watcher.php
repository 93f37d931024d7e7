<?php
/**
 * Notices changes of post meta.
 *
 * By state, not by calls: the hooks say that something may have changed, and
 * their arguments are not believed beyond that. They fire for rows that did not
 * change, with values that rows do not have, and some changes have no hook of
 * their own. So the values before are remembered, the values after are read
 * from the database, and what differs is an event.
 *
 * Changes written with SQL that fire no hook are not seen.
 *
 * @package Sidewire
 */

namespace Sidewire\Capture;

use Sidewire\Event;
use Sidewire\Policy;

defined( 'ABSPATH' ) || exit;

/**
 * Remembers the state before for each (blog, post, key) that is about to be
 * written, and which of them were.
 *
 * @since 0.1.0
 */
final class Meta_Watcher implements Source {

	// Ids in one IN list.
	private const CHUNK = 500;

	/**
	 * What may be published.
	 *
	 * @var Policy
	 */
	private $policy;

	/**
	 * Called when something new is pending.
	 *
	 * @var callable
	 */
	private $on_pending;

	/**
	 * Values before, as stored: blog → post → key → list.
	 *
	 * @var array<int, array<int, array<string, string[]>>>
	 */
	private $before = array();

	/**
	 * What may have changed: blog → post → key → true.
	 *
	 * @var array<int, array<int, array<string, bool>>>
	 */
	private $dirty = array();

	/**
	 * How many are in `$dirty`.
	 *
	 * @var int
	 */
	private $count = 0;

	/**
	 * What the write under way changes without a hook that names it: blog, post, key.
	 *
	 * @var array<int, array{int, int, string}>
	 */
	private $noted = array();

	/**
	 * Whether the deletion under way is of a key on all posts.
	 *
	 * @var bool
	 */
	private $deletes_all = false;

	/**
	 * Takes its parts.
	 *
	 * @since 0.1.0
	 *
	 * @param Policy   $policy     What may be published.
	 * @param callable $on_pending Called when something new is pending.
	 */
	public function __construct( Policy $policy, callable $on_pending ) {
		$this->policy     = $policy;
		$this->on_pending = $on_pending;
	}

	/**
	 * Connects to WordPress.
	 *
	 * @since 0.1.0
	 */
	public function add_hooks(): void {
		// add_post_meta has three arguments: asking for a fourth would end the save before it is written.
		add_action( 'add_post_meta', array( $this, 'before_add' ), 10, 2 );
		add_action( 'update_post_meta', array( $this, 'before_write' ), 10, 3 );
		add_action( 'delete_post_meta', array( $this, 'before_delete' ), 10, 3 );

		add_action( 'added_post_meta', array( $this, 'after_write' ), 10, 3 );
		add_action( 'updated_post_meta', array( $this, 'after_write' ), 10, 3 );
		add_action( 'deleted_post_meta', array( $this, 'after_write' ), 10, 3 );

		// Last, as others may end the write here.
		add_filter( 'update_post_metadata_by_mid', array( $this, 'before_write_by_mid' ), PHP_INT_MAX, 4 );
		add_filter( 'delete_post_metadata', array( $this, 'before_delete_metadata' ), PHP_INT_MAX, 5 );
	}

	/**
	 * A row is about to be inserted.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $post_id  The post.
	 * @param mixed $meta_key The value's name.
	 */
	public function before_add( $post_id, $meta_key ): void {
		$this->remember( (int) $post_id, (string) $meta_key );
	}

	/**
	 * Rows are about to be updated.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $mid      Of the row; not used.
	 * @param mixed $post_id  The post; an int or a string, by the way the call was made.
	 * @param mixed $meta_key The value's name.
	 */
	public function before_write( $mid, $post_id, $meta_key ): void {
		$this->remember( (int) $post_id, (string) $meta_key );
	}

	/**
	 * A row is about to be updated by its id, and may get another key. Nothing
	 * else tells that the old key is gone.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $check    Passed on.
	 * @param mixed $mid      Of the row.
	 * @param mixed $value    Not used.
	 * @param mixed $meta_key The new name, or false to keep it.
	 * @return mixed
	 */
	public function before_write_by_mid( $check, $mid, $value = null, $meta_key = false ) {
		if ( null === $check && is_string( $meta_key ) ) {
			$this->guard(
				function () use ( $mid, $meta_key ): void {
					$row = get_metadata_by_mid( 'post', (int) $mid );
					if ( $row && $row->meta_key !== $meta_key ) {
						$this->note( (int) $row->post_id, (string) $row->meta_key );
					}
				}
			);
		}
		return $check;
	}

	/**
	 * Learns whether a deletion is of all posts; its hooks don't say so.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $check      Passed on.
	 * @param mixed $post_id    Not used.
	 * @param mixed $meta_key   Not used.
	 * @param mixed $meta_value Not used.
	 * @param mixed $delete_all Whether the post is ignored.
	 * @return mixed
	 */
	public function before_delete_metadata( $check, $post_id = 0, $meta_key = '', $meta_value = '', $delete_all = false ) {
		$this->deletes_all = null === $check && $delete_all;
		return $check;
	}

	/**
	 * Rows are about to be deleted.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $mids     Of the rows.
	 * @param mixed $post_id  The post; says nothing when the key is deleted on all posts.
	 * @param mixed $meta_key The value's name.
	 */
	public function before_delete( $mids, $post_id, $meta_key ): void {
		$all               = $this->deletes_all || 0 === (int) $post_id;
		$this->deletes_all = false;
		if ( ! $all ) {
			$this->remember( (int) $post_id, (string) $meta_key );
			return;
		}
		$this->guard(
			function () use ( $mids, $meta_key ): void {
				if ( ! $this->policy->may_concern( (string) $meta_key ) ) {
					return;
				}
				foreach ( array_chunk( Stored_Posts::owners( (array) $mids ), self::CHUNK ) as $post_ids ) {
					// One query for all of them; each is then in WordPress's cache.
					update_meta_cache( 'post', $post_ids );
					foreach ( $post_ids as $post_id ) {
						$this->note( $post_id, (string) $meta_key );
					}
				}
			}
		);
	}

	/**
	 * Rows were written or deleted.
	 *
	 * @since 0.1.0
	 *
	 * @param mixed $mids     Of the rows; not used.
	 * @param mixed $post_id  The post; 0 when the key was deleted on all posts.
	 * @param mixed $meta_key The value's name.
	 */
	public function after_write( $mids, $post_id, $meta_key ): void {
		$this->guard(
			function () use ( $post_id, $meta_key ): void {
				foreach ( $this->noted as list( $blog_id, $noted_id, $noted_key ) ) {
					$this->mark( $blog_id, $noted_id, $noted_key );
				}
				$this->noted = array();
				if ( (int) $post_id > 0 && $this->policy->may_concern( (string) $meta_key ) ) {
					$this->mark( get_current_blog_id(), (int) $post_id, (string) $meta_key );
				}
				if ( $this->count > 0 ) {
					( $this->on_pending )();
				}
			}
		);
	}

	/**
	 * How many values may have changed.
	 *
	 * @since 0.1.0
	 */
	public function pending(): int {
		return $this->count;
	}

	/**
	 * Reads the state of what may have changed, and forgets it.
	 *
	 * @since 0.1.0
	 *
	 * @param int $rev Taken before.
	 * @return Event[]
	 */
	public function settle( int $rev ): array {
		$dirty        = $this->dirty;
		$before       = $this->before;
		$this->dirty  = array();
		$this->before = array();
		$this->count  = 0;

		$events = array();
		foreach ( $dirty as $blog_id => $posts ) {
			$elsewhere = get_current_blog_id() !== $blog_id;
			if ( $elsewhere ) {
				switch_to_blog( $blog_id );
			}
			try {
				foreach ( array_chunk( $posts, self::CHUNK, true ) as $chunk ) {
					$events = array_merge( $events, $this->settle_posts( $blog_id, $chunk, $before[ $blog_id ] ?? array(), $rev ) );
				}
			} finally {
				if ( $elsewhere ) {
					restore_current_blog();
				}
			}
		}
		return $events;
	}

	/**
	 * Compares some posts of the current blog.
	 *
	 * @param int   $blog_id The current blog.
	 * @param array $posts   Post → key → true.
	 * @param array $before  Post → key → values before.
	 * @param int   $rev     Taken before.
	 * @return Event[]
	 */
	private function settle_posts( int $blog_id, array $posts, array $before, int $rev ): array {
		$events = array();
		$stored = new Stored_Posts( array_keys( $posts ), array_keys( array_replace( ...array_values( $posts ) ) ) );
		foreach ( $posts as $post_id => $keys ) {
			// A post that is gone, or that not everybody may view, tells nothing.
			$post = $stored->post( $post_id );
			foreach ( null === $post ? array() : array_keys( $keys ) as $key ) {
				$key = (string) $key;
				$was = $before[ $post_id ][ $key ] ?? null;
				$is  = $stored->meta( $post_id, $key );
				if ( $was === $is || ! $this->policy->is_public( $key, $post ) ) {
					continue;
				}
				$values   = $this->policy->told_values( $key, array_map( array( self::class, 'value' ), $is ) );
				$events[] = new Event( self::op( $was, $is ), $blog_id, $post_id, $key, $values, $rev );
			}
		}
		return $events;
	}

	/**
	 * What happened between two states.
	 *
	 * @param string[]|null $was Null if nobody knows.
	 * @param string[]      $is  As stored.
	 */
	private static function op( ?array $was, array $is ): string {
		if ( ! $is ) {
			return Event::DELETED;
		}
		return array() === $was ? Event::ADDED : Event::UPDATED;
	}

	/**
	 * A stored value as PHP has it. No object is brought to life for this.
	 *
	 * @param string $stored As in the database.
	 * @return mixed
	 */
	private static function value( string $stored ) {
		return is_serialized( $stored ) ? @unserialize( trim( $stored ), array( 'allowed_classes' => false ) ) : $stored;
	}

	/**
	 * Remembers the values before a write, if they are not known yet and anybody could see them.
	 *
	 * @param int    $post_id  The post.
	 * @param string $meta_key The value's name.
	 */
	private function remember( int $post_id, string $meta_key ): void {
		$this->guard(
			function () use ( $post_id, $meta_key ): void {
				$blog_id = get_current_blog_id();
				if ( isset( $this->before[ $blog_id ][ $post_id ][ $meta_key ] ) || ! $this->policy->may_concern( $meta_key ) ) {
					return;
				}
				// As WordPress caches it, which it just did for its own check of this write.
				$cached = update_meta_cache( 'post', array( $post_id ) );
				if ( is_array( $cached ) ) {
					$this->before[ $blog_id ][ $post_id ][ $meta_key ] = array_map( 'strval', array_values( $cached[ $post_id ][ $meta_key ] ?? array() ) );
				}
			}
		);
	}

	/**
	 * Remembers, and notes for the hook after the write, where that one does not name the post.
	 *
	 * @param int    $post_id  The post.
	 * @param string $meta_key The value's name.
	 */
	private function note( int $post_id, string $meta_key ): void {
		if ( $this->policy->may_concern( $meta_key ) ) {
			$this->remember( $post_id, $meta_key );
			$this->noted[] = array( get_current_blog_id(), $post_id, $meta_key );
		}
	}

	/**
	 * Marks a value as one that may have changed.
	 *
	 * @param int    $blog_id  The blog.
	 * @param int    $post_id  Its post.
	 * @param string $meta_key The value's name.
	 */
	private function mark( int $blog_id, int $post_id, string $meta_key ): void {
		if ( ! isset( $this->dirty[ $blog_id ][ $post_id ][ $meta_key ] ) ) {
			$this->dirty[ $blog_id ][ $post_id ][ $meta_key ] = true;
			++$this->count;
		}
	}

	/**
	 * Runs something inside a save, which goes on whatever happens.
	 *
	 * @param callable $work May throw, as filters of other plugins run in it.
	 */
	private function guard( callable $work ): void {
		try {
			$work();
		} catch ( \Throwable $error ) {
			error_log( 'Sidewire: a change of post meta was not captured: ' . get_class( $error ) . ': ' . $error->getMessage() );
		}
	}
}
