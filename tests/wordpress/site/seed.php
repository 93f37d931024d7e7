<?php
/**
 * Fills a new site: makes the page that shows a live price, takes the theme's
 * footer and the editor's greeting away, and activates the plugin.
 *
 * Prints the ids as JSON. Does nothing twice: a site that has its page keeps it.
 *
 * @package Sidewire
 */

require $argv[1] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';

$sidewire_page = get_page_by_path( 'coffee' );
if ( null === $sidewire_page ) {
	$sidewire_content = <<<'HTML'
<!-- wp:paragraph -->
<p>Yirgacheffe, washed. Jasmine, bergamot, a long sweet finish. One kilogram, roasted on Tuesday.</p>
<!-- /wp:paragraph -->

<!-- wp:html -->
<p class="live-price">€ [sidewire_meta key="price"]</p>
<p class="live-state"><span>The price as of loading this page</span></p>
<!-- /wp:html -->

<!-- wp:group {"layout":{"type":"flex"}} -->
<div class="wp-block-group"><!-- wp:paragraph -->
<p>The same value, by a block binding:</p>
<!-- /wp:paragraph -->

<!-- wp:paragraph {"metadata":{"bindings":{"content":{"source":"core/post-meta","args":{"key":"price"}}}},"className":"bound-price"} -->
<p class="bound-price"></p>
<!-- /wp:paragraph --></div>
<!-- /wp:group -->
HTML;
	// wp_insert_post() expects slashed text.
	$sidewire_id = wp_insert_post(
		wp_slash(
			array(
				'post_type'    => 'page',
				'post_status'  => 'publish',
				'post_title'   => 'Ethiopian coffee',
				'post_name'    => 'coffee',
				'post_author'  => 1,
				'post_content' => $sidewire_content,
				'meta_input'   => array( 'price' => '39.90' ),
			)
		),
		true
	);
	if ( is_wp_error( $sidewire_id ) ) {
		fwrite( STDERR, 'the page could not be made: ' . $sidewire_id->get_error_message() . "\n" );
		exit( 1 );
	}
	// WordPress's own example would be in the menu.
	wp_delete_post( 2, true );
	update_option( 'show_on_front', 'page' );
	update_option( 'page_on_front', $sidewire_id );
	// The theme's own footer is full of links that lead nowhere.
	$sidewire_footer = wp_insert_post(
		array(
			'post_type'    => 'wp_template_part',
			'post_status'  => 'publish',
			'post_title'   => 'Footer',
			'post_name'    => 'footer',
			'post_content' => '<!-- wp:paragraph {"align":"center","fontSize":"small","style":{"spacing":{"padding":{"top":"5rem","bottom":"2rem"}}}} --><p class="has-text-align-center has-small-font-size" style="padding-top:5rem;padding-bottom:2rem">A throwaway WordPress behind Sidewire</p><!-- /wp:paragraph -->',
		),
		true
	);
	if ( is_wp_error( $sidewire_footer ) ) {
		fwrite( STDERR, 'the footer could not be made: ' . $sidewire_footer->get_error_message() . "\n" );
		exit( 1 );
	}
	wp_set_object_terms( $sidewire_footer, get_stylesheet(), 'wp_theme' );
	wp_set_object_terms( $sidewire_footer, 'footer', 'wp_template_part_area' );
	// The editors greet with pictures from wordpress.org, over the page that is to be seen.
	$sidewire_unwelcome = array( 'welcomeGuide' => false );
	update_user_meta(
		1,
		$GLOBALS['wpdb']->get_blog_prefix() . 'persisted_preferences',
		array(
			'core/edit-post' => $sidewire_unwelcome,
			'core/edit-site' => $sidewire_unwelcome + array( 'welcomeGuideStyles' => false, 'welcomeGuidePage' => false, 'welcomeGuideTemplate' => false ),
			'_modified'      => gmdate( 'c' ),
		)
	);
	$sidewire_page = get_post( $sidewire_id );
}

// After the content, so that making it publishes nothing: nobody listens yet.
if ( file_exists( WP_PLUGIN_DIR . '/sidewire/sidewire.php' ) && ! is_plugin_active( 'sidewire/sidewire.php' ) ) {
	$sidewire_fault = activate_plugin( 'sidewire/sidewire.php' );
	if ( is_wp_error( $sidewire_fault ) ) {
		fwrite( STDERR, 'the plugin could not be activated: ' . $sidewire_fault->get_error_message() . "\n" );
		exit( 1 );
	}
}

echo wp_json_encode(
	array(
		'page'    => $sidewire_page->ID,
		'post'    => 1,
		'version' => get_bloginfo( 'version' ),
		'active'  => is_plugin_active( 'sidewire/sidewire.php' ),
	)
);
