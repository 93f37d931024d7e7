<?php
/**
 * What becomes an event: every way in which WordPress writes post meta, and the
 * ways in which its hooks say something else than what was written.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Integration;

use Sidewire\Tests\Site_Test_Case;

/**
 * Tests Sidewire\Capture\Meta_Watcher by its results at the socket.
 */
final class Capture_Test extends Site_Test_Case {

	public function test_adding_updating_and_deleting_are_one_event_each(): void {
		$post = $this->post();
		$this->request( 'add_post_meta( $post, "price", "40" );', compact( 'post' ) );
		$this->request( 'update_post_meta( $post, "price", "42.50" );', compact( 'post' ) );
		$this->request( 'delete_post_meta( $post, "price" );', compact( 'post' ) );
		$this->assertSame( array( 'added #1:price 40', 'updated #1:price 42.50', 'deleted #1:price' ), $this->events( $post ) );
	}

	public function test_an_event_has_the_fields_that_front_ends_use(): void {
		$post   = $this->post();
		$before = (int) ( microtime( true ) * 1e6 );
		$this->request( 'update_post_meta( $post, "price", "42.50" );', compact( 'post' ) );
		$after   = (int) ( microtime( true ) * 1e6 );
		$command = json_decode( $this->sidecar->requests()[0]['body'], true )['commands'][0]['broadcast'];
		$event   = $command['data'];

		$this->assertSame( array( "post:$post", 'site' ), $command['channels'] );
		$this->assertSame( "$post:price", $command['key'] );
		$this->assertSame( $event['rev'], $command['version'] );
		$this->assertSame( array( 'channels', 'data', 'key', 'version' ), array_keys( $command ) );

		$this->assertSame( array( 'type', 'op', 'post_id', 'meta_key', 'meta_value', 'values', 'timestamp', 'rev', 'id' ), array_keys( $event ) );
		$this->assertSame( 'post_meta_update', $event['type'] );
		$this->assertSame( $post, $event['post_id'] );
		$this->assertSame( '42.50', $event['meta_value'] );
		$this->assertSame( array( '42.50' ), $event['values'] );
		$this->assertMatchesRegularExpression( '/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/', $event['timestamp'] );
		$this->assertGreaterThanOrEqual( $before, $event['rev'] );
		$this->assertLessThanOrEqual( $after, $event['rev'] );
		$this->assertMatchesRegularExpression( '/^[0-9a-f-]{36}$/', $event['id'] );
	}

	public function test_a_deletion_has_an_empty_value(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '42.50' ) ) );
		$this->request( 'delete_post_meta( $post, "price" );', compact( 'post' ) );
		$event = $this->sidecar->events()[0];
		$this->assertSame( array( '', array() ), array( $event['meta_value'], $event['values'] ) );
	}

	public function test_revisions_of_one_request_and_of_the_next_grow(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "price", "1" );', compact( 'post' ) );
		$this->request( 'update_post_meta( $post, "price", "2" );', compact( 'post' ) );
		$revs = array_column( $this->sidecar->events(), 'rev' );
		$this->assertGreaterThan( $revs[0], $revs[1] );
		$ids = array_column( $this->sidecar->events(), 'id' );
		$this->assertNotSame( $ids[0], $ids[1] );
	}

	// Values are told as they are stored, and as native PHP.

	public function test_text_is_told_as_it_is_stored(): void {
		$post = $this->post();
		$text = "O'Reilly \\ \"back\" <b>bold</b> 価格 🙂";
		$this->request( 'update_post_meta( $post, "note", wp_slash( $text ) );', compact( 'post', 'text' ) );
		$this->assertSame( $text, $this->sidecar->events()[0]['meta_value'] );
	}

	public function test_a_backslash_that_wordpress_drops_is_not_told(): void {
		$post   = $this->post();
		$stored = $this->request( 'update_post_meta( $post, "note", "O\'Reilly \\\\ back" ); return get_post_meta( $post, "note", true );', compact( 'post' ) );
		$this->assertSame( "O'Reilly  back", $stored );
		$this->assertSame( $stored, $this->sidecar->events()[0]['meta_value'] );
	}

	public function test_an_array_is_told_as_it_is(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "colour", array( "rgb" => array( 1, 2.5, true, null ), "name" => "red" ) );', compact( 'post' ) );
		$event = $this->sidecar->events()[0];
		$this->assertSame( array( 'rgb' => array( 1, 2.5, true, null ), 'name' => 'red' ), $event['meta_value'] );
		$this->assertSame( array( $event['meta_value'] ), $event['values'] );
	}

	public function test_an_object_is_never_told_nor_brought_to_life(): void {
		$post = $this->post();
		$this->request(
			'class Wakes { public $secret = "s3cret"; public function __wakeup() { error_log( "Sidewire: woke" ); } }
			update_post_meta( $post, "colour", new Wakes() ); update_post_meta( $post, "note", array( "deep" => array( new ArrayObject( array( "s3cret" ) ) ) ) );',
			compact( 'post' )
		);
		$this->assertSame( array( 'added #1:colour not told', 'added #1:note not told' ), $this->events( $post ) );
		foreach ( $this->sidecar->events() as $event ) {
			$this->assertTrue( $event['fetch'] );
			$this->assertArrayNotHasKey( 'meta_value', $event );
		}
		$this->assertStringNotContainsString( 's3cret', $this->sidecar->requests()[0]['body'] );
	}

	public function test_a_value_too_large_for_a_message_is_to_be_fetched(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "note", str_repeat( "x", 16000 ) ); update_post_meta( $post, "colour", str_repeat( "x", 17000 ) );', compact( 'post' ) );
		list( $small, $large ) = $this->sidecar->events();
		$this->assertSame( 16000, strlen( $small['meta_value'] ) );
		$this->assertTrue( $large['fetch'] );
		$this->assertArrayNotHasKey( 'values', $large );
		$this->assertArrayNotHasKey( 'meta_value', $large );
	}

	public function test_a_value_that_is_no_utf8_does_not_keep_the_others_back(): void {
		$post = $this->post();
		$this->request( 'add_filter( "sanitize_post_meta_note", static fn() => "caf\xe9" ); update_post_meta( $post, "note", "x" ); update_post_meta( $post, "price", "1" );', compact( 'post' ) );
		$this->assertContains( 'added #1:price 1', $this->events( $post ) );
	}

	// A key that is missing: WordPress turns the update into an addition.

	public function test_updating_a_missing_key_is_an_addition(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "price", "1" );', compact( 'post' ) );
		$this->assertSame( array( 'added #1:price 1' ), $this->events( $post ) );
	}

	// The same value again: on some databases a hook says that it was updated.

	public function test_the_same_value_again_is_no_event(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '5' ) ) );
		$this->request( 'update_post_meta( $post, "price", "5" );', compact( 'post' ) );
		$this->request( 'update_post_meta( $post, "price", 5 );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	// Several rows: hooks fire for rows that stay as they are, with a value that these don't have.

	public function test_several_rows_are_told_as_they_are_and_once(): void {
		$post = $this->post();
		$this->site->request( 'add_post_meta( $post, "colour", "white" ); add_post_meta( $post, "colour", "white" ); add_post_meta( $post, "colour", "black" );', compact( 'post' ), array( 'SIDEWIRE_DISABLED' => '1' ) );
		$this->request( 'update_post_meta( $post, "colour", "grey", "black" );', compact( 'post' ) );
		$this->assertSame( array( 'updated #1:colour white|white|grey' ), $this->events( $post ) );
	}

	public function test_deleting_one_of_several_rows_is_an_update(): void {
		$post = $this->post();
		$this->site->request( 'add_post_meta( $post, "colour", "white" ); add_post_meta( $post, "colour", "black" );', compact( 'post' ), array( 'SIDEWIRE_DISABLED' => '1' ) );
		$this->request( 'delete_post_meta( $post, "colour", "white" );', compact( 'post' ) );
		$this->assertSame( array( 'updated #1:colour black' ), $this->events( $post ) );
	}

	// Deleting a key on all posts: one hook, for no post.

	public function test_deleting_a_key_everywhere_is_an_event_for_each_post(): void {
		$one = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$two = $this->post( array( 'meta_input' => array( 'price' => '2', 'note' => 'stays' ) ) );
		$this->request( 'delete_post_meta_by_key( "price" );' );
		$this->assertContains( 'deleted #1:price', $this->events( $one, $two ) );
		$this->assertContains( 'deleted #2:price', $this->events( $one, $two ) );
		$this->assertCount( 1, $this->sidecar->requests() );
	}

	public function test_deleting_a_key_everywhere_by_way_of_one_post_is_an_event_for_each(): void {
		$one = $this->post( array( 'meta_input' => array( 'stock' => '1' ) ) );
		$two = $this->post( array( 'meta_input' => array( 'stock' => '2' ) ) );
		$this->request( 'delete_metadata( "post", $one, "stock", "", true );', compact( 'one' ) );
		$this->assertContains( 'deleted #1:stock', $this->events( $one, $two ) );
		$this->assertContains( 'deleted #2:stock', $this->events( $one, $two ) );
	}

	// By the row's id, as the Custom Fields box does: other types, and a renamed key has no event of its own.

	public function test_a_row_updated_by_its_id_is_told(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request( 'global $wpdb; $mid = $wpdb->get_var( "SELECT meta_id FROM $wpdb->postmeta WHERE post_id = $post AND meta_key = \'price\'" ); update_metadata_by_mid( "post", $mid, "2" );', compact( 'post' ) );
		$this->assertSame( array( 'updated #1:price 2' ), $this->events( $post ) );
	}

	public function test_a_row_deleted_by_its_id_is_told(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request( 'global $wpdb; $mid = $wpdb->get_var( "SELECT meta_id FROM $wpdb->postmeta WHERE post_id = $post AND meta_key = \'price\'" ); delete_metadata_by_mid( "post", $mid );', compact( 'post' ) );
		$this->assertSame( array( 'deleted #1:price' ), $this->events( $post ) );
	}

	public function test_a_renamed_key_is_told_under_both_names(): void {
		$post = $this->post( array( 'meta_input' => array( 'old_name' => 'x' ) ) );
		$this->request( 'global $wpdb; $mid = $wpdb->get_var( "SELECT meta_id FROM $wpdb->postmeta WHERE post_id = $post AND meta_key = \'old_name\'" ); update_metadata_by_mid( "post", $mid, "x", "new_name" );', compact( 'post' ) );
		$events = $this->events( $post );
		sort( $events );
		$this->assertSame( array( 'added #1:new_name x', 'deleted #1:old_name' ), $events );
	}

	// Revisions and posts that are deleted.

	public function test_meta_written_to_a_revision_is_told_of_its_post(): void {
		$post     = $this->post();
		$revision = $this->post( array( 'post_type' => 'revision', 'post_status' => 'inherit', 'post_parent' => $post, 'post_name' => "$post-revision-v1" ) );
		$this->request( 'update_post_meta( $revision, "price", "1" ); update_metadata( "post", $revision, "note", "raw" );', compact( 'revision' ) );
		$this->assertSame( array( 'added #1:price 1' ), $this->events( $post ) );
	}

	public function test_a_deleted_post_tells_nothing_of_its_meta(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1', 'note' => 'x' ) ) );
		$this->request( 'update_post_meta( $post, "price", "2" ); wp_delete_post( $post, true );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	// What editors write with every save.

	public function test_the_noise_of_ordinary_saves_is_no_event(): void {
		$post = $this->post();
		$this->request(
			'require_once ABSPATH . "wp-admin/includes/post.php"; wp_set_current_user( 1 ); wp_set_post_lock( $post );
			update_post_meta( $post, "_edit_last", 1 ); update_post_meta( $post, "_hidden", "allow-listed and yet protected" );
			wp_update_post( array( "ID" => $post, "post_title" => "Another", "post_name" => "another-$post" ) ); wp_trash_post( $post ); wp_untrash_post( $post );',
			compact( 'post' )
		);
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_what_is_not_of_a_post_is_no_event(): void {
		$this->request(
			'update_user_meta( 1, "price", "1" ); update_user_meta( 1, "session_tokens", array( "x" ) ); update_metadata( "comment", 1, "price", "1" ); update_metadata( "term", 1, "price", "1" );'
		);
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	// State, not calls.

	public function test_three_updates_in_a_request_are_one_event(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '0' ) ) );
		$this->request( 'foreach ( array( "1", "2", "3" ) as $price ) { update_post_meta( $post, "price", $price ); }', compact( 'post' ) );
		$this->assertSame( array( 'updated #1:price 3' ), $this->events( $post ) );
	}

	public function test_a_change_taken_back_within_the_request_is_no_event(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request( 'update_post_meta( $post, "price", "2" ); update_post_meta( $post, "price", "1" ); add_post_meta( $post, "note", "x" ); delete_post_meta( $post, "note" );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_deleted_and_added_again_is_an_update(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request( 'delete_post_meta( $post, "price" ); add_post_meta( $post, "price", "2" );', compact( 'post' ) );
		$this->assertSame( array( 'updated #1:price 2' ), $this->events( $post ) );
	}

	public function test_the_state_is_read_past_the_object_cache(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request(
			'update_post_meta( $post, "price", "2" );
			// As if another request had written meanwhile, and this one still had its cache.
			global $wpdb; $wpdb->update( $wpdb->postmeta, array( "meta_value" => "3" ), array( "post_id" => $post, "meta_key" => "price" ) );
			return get_post_meta( $post, "price", true );',
			compact( 'post' )
		);
		$this->assertSame( array( 'updated #1:price 3' ), $this->events( $post ) );
	}

	public function test_meta_that_comes_with_a_new_post_is_told(): void {
		$post = $this->request( 'return wp_insert_post( array( "post_title" => "New", "post_status" => "publish", "meta_input" => array( "price" => "1" ) ) );' );
		$this->assertSame( array( 'added #1:price 1' ), $this->events( $post ) );
	}

	public function test_a_key_that_is_a_number_is_a_key_like_any_other(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "7", "seven" ); update_post_meta( $post, "price", "1" );', compact( 'post' ) );
		$this->assertSame( array( 'added #1:7 seven', 'added #1:price 1' ), $this->events( $post ) );
	}

	public function test_a_change_made_while_others_shut_down_is_told(): void {
		$post = $this->post();
		$this->request( 'add_action( "shutdown", static function () use ( $post ) { update_post_meta( $post, "price", "late" ); }, 50 ); update_post_meta( $post, "note", "x" );', compact( 'post' ) );
		$this->assertSame( array( 'added #1:note x', 'added #1:price late' ), $this->events( $post ) );
	}

	public function test_a_request_that_dies_tells_what_it_had_written(): void {
		$post = $this->post();
		try {
			$this->request( 'update_post_meta( $post, "price", "1" ); ini_set( "log_errors", "0" ); call_to_nothing();', compact( 'post' ) );
			$this->fail( 'the request was to die' );
		} catch ( \RuntimeException $expected ) {
			$this->assertSame( array( 'added #1:price 1' ), $this->events( $post ) );
		}
	}

	public function test_a_write_that_another_plugin_takes_over_is_no_event(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request( 'add_filter( "update_post_metadata", "__return_true" ); add_filter( "update_post_metadata_by_mid", "__return_true" ); add_filter( "delete_post_metadata", "__return_true" ); update_post_meta( $post, "price", "2" ); delete_post_meta( $post, "price" ); delete_post_meta_by_key( "price" ); update_metadata_by_mid( "post", 1, "x", "note" );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_capturing_costs_no_query_of_its_own(): void {
		$post    = $this->post( array( 'meta_input' => array( 'price' => '0' ) ) );
		$count   = 'global $wpdb; $before = $wpdb->num_queries; for ( $n = 1; $n <= 30; $n++ ) { update_post_meta( $post, "price", "$run-$n" ); } return $wpdb->num_queries - $before;';
		$without = $this->site->request( $count, array( 'post' => $post, 'run' => 'a' ), array( 'SIDEWIRE_DISABLED' => '1' ) + $this->environment );
		$with    = $this->request( $count, array( 'post' => $post, 'run' => 'b' ) );
		$this->assertSame( $without, $with );
		$this->assertSame( array( 'updated #1:price b-30' ), $this->events( $post ) );
	}
}
