<?php
/**
 * What is published, and above all what is not.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Integration;

use Sidewire\Tests\Site_Test_Case;

/**
 * Tests Sidewire\Policy by what arrives at the socket; Output_Test holds the same for what is printed.
 */
final class Policy_Test extends Site_Test_Case {

	/**
	 * Posts that not everybody may view.
	 */
	public function hidden_posts(): array {
		return array(
			'a draft'             => array( array( 'post_status' => 'draft' ) ),
			'a private one'       => array( array( 'post_status' => 'private' ) ),
			'a pending one'       => array( array( 'post_status' => 'pending' ) ),
			'a future one'        => array( array( 'post_status' => 'future', 'post_date' => '2099-01-01 00:00:00' ) ),
			'one in the trash'    => array( array( 'post_status' => 'trash' ) ),
			'one with a password' => array( array( 'post_password' => 'secret' ) ),
			'one of a type that is not public' => array( array( 'post_type' => 'wp_block' ) ),
			'one of a type that nobody registered' => array( array( 'post_type' => 'leftover' ) ),
		);
	}

	/**
	 * @dataProvider hidden_posts
	 */
	public function test_a_post_that_not_everybody_may_view_tells_nothing( array $fields ): void {
		$post = $this->post( $fields );
		$this->request( 'update_post_meta( $post, "price", "1" ); add_post_meta( $post, "note", "x" ); delete_post_meta( $post, "price" );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
		$this->assertSame( array( 'x' ), $this->site->request( 'return get_post_meta( $post, "note" );', compact( 'post' ) ), 'it was to be saved' );
	}

	public function test_the_post_counts_as_it_is_when_the_request_ends(): void {
		$hidden = $this->post();
		$shown  = $this->post( array( 'post_status' => 'draft' ) );
		$this->request( 'update_post_meta( $hidden, "price", "1" ); wp_update_post( array( "ID" => $hidden, "post_status" => "private" ) ); update_post_meta( $shown, "price", "2" ); wp_publish_post( $shown );', compact( 'hidden', 'shown' ) );
		$this->assertSame( array( 'added #2:price 2' ), $this->events( $hidden, $shown ) );
	}

	public function test_the_post_counts_as_the_database_has_it_not_a_cache(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "price", "1" ); get_post( $post ); global $wpdb; $wpdb->update( $wpdb->posts, array( "post_status" => "private" ), array( "ID" => $post ) );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_a_protected_key_tells_nothing_even_if_it_is_allowed(): void {
		$post = $this->post();
		$this->request( 'add_filter( "sidewire_meta_keys", static fn( $keys ) => array_merge( $keys, array( "_secret" ) ) ); update_post_meta( $post, "_hidden", "1" ); update_post_meta( $post, "_secret", "1" );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_a_key_that_a_filter_protects_tells_nothing(): void {
		$post = $this->post();
		$this->request( 'add_filter( "is_protected_meta", static fn( $is, $key ) => $is || "price" === $key, 10, 2 ); update_post_meta( $post, "price", "1" );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_a_key_that_nobody_allowed_tells_nothing(): void {
		$post = $this->post();
		$this->request( 'update_post_meta( $post, "cost", "1" ); update_post_meta( $post, "Price", "1" );', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_a_filter_allows_more_keys(): void {
		$post = $this->post();
		$this->request( 'add_filter( "sidewire_meta_keys", static fn( $keys ) => array_merge( $keys, array( "cost" ) ) ); update_post_meta( $post, "cost", "1" );', compact( 'post' ) );
		$this->assertSame( array( 'added #1:cost 1' ), $this->events( $post ) );
	}

	public function test_a_filter_refuses_what_the_rule_allows_and_is_not_asked_for_the_rest(): void {
		$post  = $this->post();
		$draft = $this->post( array( 'post_status' => 'draft' ) );
		$this->request(
			'add_filter( "sidewire_should_capture_meta", static function ( $capture, $type, $id, $key ) use ( $post ) {
				if ( "post" !== $type || $id !== $post ) { error_log( "Sidewire: asked for $type $id $key" ); }
				return "price" !== $key; }, 10, 4 );
			foreach ( array( $post, $draft ) as $id ) { update_post_meta( $id, "price", "1" ); update_post_meta( $id, "stock", "2" ); update_post_meta( $id, "cost", "3" ); }',
			compact( 'post', 'draft' )
		);
		$this->assertSame( array( 'added #1:stock 2' ), $this->events( $post ) );
	}

	/**
	 * Registered keys: arguments of register_meta, and whether everybody sees the value by REST.
	 */
	public function registered_keys(): array {
		$string = array( 'type' => 'string', 'single' => true, 'show_in_rest' => true );
		return array(
			'a string in REST'           => array( $string, true ),
			'an integer in REST'         => array( array( 'type' => 'integer' ) + $string, true ),
			'of this type of post'       => array( array( 'object_subtype' => 'post' ) + $string, true ),
			'of another type of post'    => array( array( 'object_subtype' => 'page' ) + $string, false ),
			'not in REST'                => array( array( 'show_in_rest' => false ) + $string, false ),
			'shown to editors only'      => array( array( 'show_in_rest' => array( 'schema' => array( 'context' => array( 'edit' ) ) ) ) + $string, false ),
			'shown to all by its schema' => array( array( 'show_in_rest' => array( 'schema' => array( 'context' => array( 'view', 'edit' ) ) ) ) + $string, true ),
			'prepared for REST'          => array( array( 'show_in_rest' => array( 'prepare_callback' => '__return_empty_string' ) ) + $string, false ),
			'an object, shown in part'   => array( array( 'type' => 'object', 'show_in_rest' => array( 'schema' => array( 'properties' => array( 'open' => array( 'type' => 'string' ) ) ) ) ) + $string, false ),
			'a list'                     => array( array( 'type' => 'array', 'show_in_rest' => array( 'schema' => array( 'items' => array( 'type' => 'string' ) ) ) ) + $string, false ),
		);
	}

	/**
	 * @dataProvider registered_keys
	 */
	public function test_a_registered_key_is_told_if_rest_shows_it_to_everybody_as_it_is( array $arguments, bool $told ): void {
		$post = $this->post();
		$this->request( 'register_meta( "post", "registered", $arguments ); update_post_meta( $post, "registered", "1" );', compact( 'post', 'arguments' ) );
		$this->assertSame( $told ? array( 'added #1:registered 1' ) : array(), $this->events( $post ) );
	}

	public function test_a_registered_key_of_a_post_type_that_rest_does_not_show_is_not_told(): void {
		foreach ( array( '"show_in_rest" => false, "supports" => array( "title", "custom-fields" )', '"show_in_rest" => true, "supports" => array( "title" )' ) as $type ) {
			$this->request( 'register_post_type( "thing", array( "public" => true, ' . $type . ' ) ); register_meta( "post", "registered", array( "type" => "string", "show_in_rest" => true ) ); $post = wp_insert_post( array( "post_type" => "thing", "post_title" => "T", "post_status" => "publish" ) ); update_post_meta( $post, "registered", "1" );' );
		}
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_an_array_under_a_key_registered_as_text_is_not_told(): void {
		$post = $this->post();
		$this->request( 'register_meta( "post", "registered", array( "type" => "string", "single" => true, "show_in_rest" => true ) ); update_post_meta( $post, "registered", array( "inner" => "s3cret" ) );', compact( 'post' ) );
		$this->assertStringNotContainsString( 's3cret', json_encode( $this->sidecar->requests() ) );
	}
}
