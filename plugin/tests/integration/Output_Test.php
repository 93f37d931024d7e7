<?php
/**
 * What pages get: values, markers, the client; and nothing where nothing is live.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Integration;

use Sidewire\Tests\Site_Test_Case;

/**
 * Tests Sidewire\Shortcode, Live_Value, Bindings_Marker, Assets, Config_Notice and the template tag.
 */
final class Output_Test extends Site_Test_Case {

	protected function setUp(): void {
		parent::setUp();
		$this->forget();
	}

	/**
	 * Runs code that prints, and gives what it printed and then the footer.
	 *
	 * @param string $code  PHP.
	 * @param array  $given Variables for it.
	 * @return string[] Both.
	 */
	private function page( string $code, array $given = array() ): array {
		return $this->request( 'ob_start(); ' . $code . ' $page = ob_get_clean(); ob_start(); do_action( "wp_footer" ); return array( $page, ob_get_clean() );', $given );
	}

	public function test_the_shortcode_prints_the_value_with_its_marker(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '42.50' ) ) );
		list( $page ) = $this->page( 'echo do_shortcode( "[sidewire_meta key=\"price\" post=\"$post\"]" );', compact( 'post' ) );
		$this->assertSame( "<span id=\"meta-value-post-$post-price\" data-sidewire-meta=\"$post:price\">42.50</span>", $page );
	}

	public function test_the_shortcode_knows_the_post_that_it_is_in(): void {
		$post = $this->post( array( 'post_content' => 'Now [sidewire_meta key="price"].', 'meta_input' => array( 'price' => '7' ) ) );
		list( $page ) = $this->page( '$GLOBALS["post"] = get_post( $post ); setup_postdata( $GLOBALS["post"] ); the_content();', compact( 'post' ) );
		$this->assertStringContainsString( "Now <span id=\"meta-value-post-$post-price\" data-sidewire-meta=\"$post:price\">7</span>.", $page );
	}

	public function test_a_value_is_escaped(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '<script>alert(1)</script>"&' ) ) );
		list( $page ) = $this->page( 'echo do_shortcode( "[sidewire_meta key=price post=$post]" );', compact( 'post' ) );
		$this->assertStringContainsString( '>&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;</span>', $page );
	}

	public function test_a_key_is_escaped_and_one_with_spaces_is_no_id(): void {
		$key  = 'a "b" <c>';
		$post = $this->post( array( 'meta_input' => array( $key => 'x' ) ) );
		list( $page ) = $this->page( 'add_filter( "sidewire_meta_keys", static fn() => array( $key ) ); sidewire_live( $key, $post );', compact( 'post', 'key' ) );
		$this->assertSame( "<span data-sidewire-meta=\"$post:a &quot;b&quot; &lt;c&gt;\">x</span>", $page );
	}

	public function test_a_value_that_is_not_there_yet_has_its_place(): void {
		$post = $this->post();
		list( $page, $footer ) = $this->page( 'sidewire_live( "price", $post );', compact( 'post' ) );
		$this->assertSame( "<span id=\"meta-value-post-$post-price\" data-sidewire-meta=\"$post:price\"></span>", $page );
		$this->assertStringContainsString( 'sidewire.js', $footer );
	}

	public function test_an_id_is_there_once(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		list( $page ) = $this->page( 'sidewire_live( "price", $post ); sidewire_live( "price", $post );', compact( 'post' ) );
		$this->assertSame( "<span id=\"meta-value-post-$post-price\" data-sidewire-meta=\"$post:price\">1</span><span data-sidewire-meta=\"$post:price\">1</span>", $page );
	}

	/**
	 * What is not printed: fields of the post, shortcode.
	 */
	public function hidden(): array {
		return array(
			'of a draft'                => array( array( 'post_status' => 'draft' ), 'key=price post=%d' ),
			'of a private post'         => array( array( 'post_status' => 'private' ), 'key=price post=%d' ),
			'of a post with a password' => array( array( 'post_password' => 'secret' ), 'key=price post=%d' ),
			'under a protected key'     => array( array(), 'key=_hidden post=%d' ),
			'under a key not allowed'   => array( array(), 'key=cost post=%d' ),
			'without a key'             => array( array(), 'post=%d' ),
			'of a post that is none'    => array( array(), 'key=price post=999999' ),
			'of something not a number' => array( array(), 'key=price post=-1' ),
			'without a post'            => array( array(), 'key=price' ),
		);
	}

	/**
	 * @dataProvider hidden
	 */
	public function test_nothing_is_printed_that_may_not_be_published( array $fields, string $shortcode ): void {
		$post = $this->post( $fields + array( 'meta_input' => array( 'price' => 's3cret', '_hidden' => 's3cret', 'cost' => 's3cret' ) ) );
		list( $page, $footer ) = $this->page( 'wp_set_current_user( 1 ); echo do_shortcode( $text );', array( 'text' => '[sidewire_meta ' . sprintf( $shortcode, $post ) . ']' ) );
		$this->assertSame( '', $page );
		$this->assertStringNotContainsString( 'sidewire', $footer );
	}

	public function test_the_client_is_deferred_and_its_configuration_is_before_it(): void {
		$post = $this->post();
		list( , $footer ) = $this->page( 'sidewire_live( "price", $post );', compact( 'post' ) );
		$config = strpos( $footer, '<script type="application/json" id="sidewire-config">{"path":"/realtime"}</script>' );
		$this->assertNotFalse( $config, $footer );
		$this->assertSame( 1, preg_match( '~<script[^>]* src=.[^"\']*/wp-content/plugins/sidewire/build/sidewire\.js\?ver=0\.1\.0.[^>]*>~', $footer, $script, PREG_OFFSET_CAPTURE ), $footer );
		$this->assertStringContainsString( ' defer', $script[0][0] );
		$this->assertGreaterThan( $config, $script[0][1] );
		$this->assertSame( 1, substr_count( $footer, 'sidewire.js' ) );
	}

	public function test_the_path_of_the_configuration_can_be_set(): void {
		$post                               = $this->post();
		$this->environment['SIDEWIRE_PATH'] = '/live';
		list( , $footer )                   = $this->page( 'sidewire_live( "price", $post );', compact( 'post' ) );
		$this->assertStringContainsString( '>{"path":"/live"}<', $footer );
	}

	public function test_a_page_with_nothing_live_gets_nothing(): void {
		list( , $footer ) = $this->page( 'echo "Hello";' );
		$this->assertStringNotContainsString( 'sidewire', $footer );
	}

	public function test_a_theme_with_markers_of_its_own_can_ask_for_the_client(): void {
		list( , $footer ) = $this->page( 'add_filter( "sidewire_enqueue_client", "__return_true" );' );
		$this->assertStringContainsString( 'sidewire.js', $footer );
	}

	public function test_without_its_build_a_page_is_whole_and_not_live(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$file = $this->site->root . '/wp-content/plugins/sidewire/build/sidewire.js';
		rename( $file, "$file.away" );
		try {
			list( $page, $footer ) = $this->page( 'sidewire_live( "price", $post );', compact( 'post' ) );
			$notice                = $this->request( 'wp_set_current_user( 1 ); do_action( "load-plugins.php" ); ob_start(); do_action( "admin_notices" ); return ob_get_clean();' );
		} finally {
			rename( "$file.away", $file );
		}
		$this->assertStringContainsString( '>1</span>', $page );
		$this->assertStringNotContainsString( 'sidewire', $footer );
		$this->assertStringContainsString( 'build/sidewire.js is missing', $notice );
	}

	public function test_switched_off_values_are_printed_and_not_live(): void {
		$post                                   = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->environment['SIDEWIRE_DISABLED'] = '1';
		list( $page, $footer )                  = $this->page( 'echo do_shortcode( "[sidewire_meta key=price post=$post]" );', compact( 'post' ) );
		$this->assertStringContainsString( '>1</span>', $page );
		$this->assertStringNotContainsString( 'sidewire', $footer );
	}

	// Blocks that are bound to post meta; WordPress has had these since 6.5.

	/**
	 * Blocks, and the element that is to be marked; null for none.
	 */
	public function blocks(): array {
		$bound = static fn( $attribute, $key = 'price', $source = 'core/post-meta' ) => json_encode( array( 'metadata' => array( 'bindings' => array( $attribute => array( 'source' => $source, 'args' => array( 'key' => $key ) ) ) ) ) );
		return array(
			'a paragraph'           => array( '<!-- wp:paragraph ' . $bound( 'content' ) . ' --><p class="big">old</p><!-- /wp:paragraph -->', '<p data-sidewire-meta="#:price" class="big">42.50</p>' ),
			'a heading'             => array( '<!-- wp:heading ' . $bound( 'content' ) . ' --><h2 class="wp-block-heading">old</h2><!-- /wp:heading -->', '<h2 data-sidewire-meta="#:price" class="wp-block-heading">42.50</h2>' ),
			'a button'              => array( '<!-- wp:button ' . $bound( 'text' ) . ' --><div class="wp-block-button"><a class="wp-block-button__link" href="/buy">old</a></div><!-- /wp:button -->', '<a data-sidewire-meta="#:price" class="wp-block-button__link" href="/buy">42.50</a>' ),
			'a button\'s address'   => array( '<!-- wp:button ' . $bound( 'url' ) . ' --><div class="wp-block-button"><a class="wp-block-button__link" href="/buy">old</a></div><!-- /wp:button -->', null ),
			'an image'              => array( '<!-- wp:image ' . $bound( 'alt' ) . ' --><figure class="wp-block-image"><img src="/x.png" alt="old"/></figure><!-- /wp:image -->', null ),
			'a key not registered'  => array( '<!-- wp:paragraph ' . $bound( 'content', 'stock' ) . ' --><p>old</p><!-- /wp:paragraph -->', null ),
			'a key not allowed'     => array( '<!-- wp:paragraph ' . $bound( 'content', 'inner' ) . ' --><p>old</p><!-- /wp:paragraph -->', null ),
			'another source'        => array( '<!-- wp:paragraph ' . $bound( 'content', 'price', 'core/pattern-overrides' ) . ' --><p>old</p><!-- /wp:paragraph -->', null ),
			'no binding'            => array( '<!-- wp:paragraph --><p>old</p><!-- /wp:paragraph -->', null ),
		);
	}

	/**
	 * @dataProvider blocks
	 */
	public function test_a_core_block_bound_to_a_public_value_is_marked( string $block, ?string $expected ): void {
		$has_bindings = version_compare( $this->site->version(), '6.5', '>=' );
		$post         = $this->post( array( 'meta_input' => array( 'price' => '42.50', 'stock' => '3', 'inner' => 's3cret' ), 'post_content' => $block ) );
		list( $page, $footer ) = $this->page(
			'register_post_meta( "post", "price", array( "type" => "string", "single" => true, "show_in_rest" => true ) );
			register_post_meta( "post", "inner", array( "type" => "string", "single" => true, "show_in_rest" => array( "schema" => array( "context" => array( "edit" ) ) ) ) );
			query_posts( array( "p" => $post ) ); the_post(); the_content();',
			compact( 'post' )
		);
		if ( null === $expected || ! $has_bindings ) {
			$this->assertStringNotContainsString( 'data-sidewire-meta', $page );
			$this->assertStringNotContainsString( 'sidewire', $footer );
			return;
		}
		$this->assertStringContainsString( str_replace( '#', (string) $post, $expected ), $page );
		$this->assertStringContainsString( 'sidewire.js', $footer );
	}

	public function test_a_bound_block_of_a_post_that_not_everybody_may_view_is_not_marked(): void {
		$post = $this->post( array( 'post_status' => 'private', 'meta_input' => array( 'price' => '1' ), 'post_content' => '<!-- wp:paragraph {"metadata":{"bindings":{"content":{"source":"core/post-meta","args":{"key":"price"}}}}} --><p>old</p><!-- /wp:paragraph -->' ) );
		list( $page ) = $this->page( 'wp_set_current_user( 1 ); register_post_meta( "post", "price", array( "type" => "string", "single" => true, "show_in_rest" => true ) ); query_posts( array( "p" => $post ) ); the_post(); the_content();', compact( 'post' ) );
		$this->assertStringContainsString( '<p>', $page );
		$this->assertStringNotContainsString( 'data-sidewire-meta', $page );
	}

	// The server in front.

	public function test_permalinks_are_offered_as_with_any_server_that_rewrites(): void {
		$ask = 'require_once ABSPATH . "wp-admin/includes/misc.php"; return got_url_rewrite();';
		$this->assertTrue( $this->request( $ask, array(), array( 'SERVER_SOFTWARE' => 'sidewire/0.1.0' ) ) );
		$this->assertFalse( $this->request( $ask, array(), array( 'SERVER_SOFTWARE' => 'unheard-of' ) ) );
	}

	public function test_https_that_ended_at_a_local_proxy_is_https_to_wordpress(): void {
		$this->assertTrue( $this->request( 'return is_ssl();', array(), array( 'HTTP_X_FORWARDED_PROTO' => 'https', 'REMOTE_ADDR' => '127.0.0.1' ) ) );
		$this->assertFalse( $this->request( 'return is_ssl();', array(), array( 'HTTP_X_FORWARDED_PROTO' => 'https', 'REMOTE_ADDR' => '203.0.113.7' ) ) );
	}

	public function test_the_owner_is_told_what_is_wrong_with_the_settings_and_nobody_else(): void {
		unset( $this->environment['SIDEWIRE_SECRET'] );
		$this->environment['SIDEWIRE_TIMEOUT_MS'] = '5000';
		$code = 'wp_set_current_user( $user ); do_action( "load-plugins.php" ); ob_start(); do_action( "admin_notices" ); return ob_get_clean();';
		$owner = $this->request( $code, array( 'user' => 1 ) );
		$this->assertStringContainsString( 'SIDEWIRE_TIMEOUT_MS = &quot;5000&quot;: expected 5 to 1000 milliseconds', $owner );
		$this->assertStringContainsString( 'SIDEWIRE_SECRET is not set', $owner );
		$this->assertStringNotContainsString( 'SIDEWIRE', $this->request( $code, array( 'user' => 0 ) ) );
	}

	// Coming and going.

	public function test_uninstalling_removes_what_was_stored(): void {
		$this->assertSame( array( array(), array() ), $this->request( 'return array( get_option( "sidewire_settings" ), get_option( "sidewire_failure" ) );' ) );
		$this->assertSame( array( false, false ), $this->request( 'define( "WP_UNINSTALL_PLUGIN", "sidewire/sidewire.php" ); require WP_PLUGIN_DIR . "/sidewire/uninstall.php"; return array( get_option( "sidewire_settings" ), get_option( "sidewire_failure" ) );' ) );
	}

	public function test_a_request_costs_no_query_when_nothing_happens(): void {
		$count = 'global $wpdb; return $wpdb->num_queries;';
		$this->request( $count );
		$with = $this->request( $count );
		$this->site->request( 'require_once ABSPATH . "wp-admin/includes/plugin.php"; deactivate_plugins( "sidewire/sidewire.php", true );' );
		try {
			$without = $this->site->request( $count );
		} finally {
			$this->site->request( 'require_once ABSPATH . "wp-admin/includes/plugin.php"; activate_plugin( "sidewire/sidewire.php", "", false, true );' );
		}
		$this->assertSame( $without, $with );
	}
}
