<?php
/**
 * Plugin Name: Live price
 * Description: What a shop's own plugin would do: it registers the price, shows on the page whether it is live, and prints it under posts.
 *
 * A must-use plugin of the demo and test sites. It knows nothing of how a
 * price gets to the browser.
 *
 * @package Sidewire
 */

defined( 'ABSPATH' ) || exit;

add_action(
	'init',
	static function () {
		foreach ( array( 'post', 'page' ) as $type ) {
			register_post_meta(
				$type,
				'price',
				array(
					'type'          => 'string',
					'single'        => true,
					'show_in_rest'  => true,
					'auth_callback' => static function ( $allowed, $key, $post_id ) {
						return current_user_can( 'edit_post', $post_id );
					},
				)
			);
		}
	}
);

// A price that wp-cron changes, so that it can be seen that wp-cron runs.
add_action(
	'live_price_scheduled',
	static function ( $post_id, $price ) {
		update_post_meta( $post_id, 'price', $price );
	},
	10,
	2
);

// As themes have it that were written for another front end: an id, and nothing of Sidewire.
add_filter(
	'the_content',
	static function ( $content ) {
		$price = is_single() && in_the_loop() ? get_post_meta( get_the_ID(), 'price', true ) : '';
		return '' === $price ? $content : $content . sprintf( '<p class="theme-price">€ <span id="meta-value-post-%d-price">%s</span></p>', get_the_ID(), esc_html( $price ) );
	}
);
add_filter(
	'sidewire_enqueue_client',
	static function ( $is_required ) {
		return $is_required || is_single();
	}
);

add_action(
	'wp_head',
	static function () {
		?>
		<style>
			.live-price { font-size: clamp(3rem, 10vw, 6rem); font-weight: 600; line-height: 1.1; margin-block: .2em; font-variant-numeric: tabular-nums; }
			.live-price [data-sidewire-meta] { border-radius: .08em; padding-inline: .06em; margin-inline: -.06em; }
			.bound-price { width: fit-content; border-radius: .2em; padding-inline: .3em; margin-inline: -.3em; font-variant-numeric: tabular-nums; }
			.live-state::before { content: "●"; margin-inline-end: .5em; color: #999; }
			[data-sidewire-state] .live-state > span { display: none; }
			[data-sidewire-state="connecting"] .live-state::after { content: "Connecting"; }
			[data-sidewire-state="live"] .live-state::before { color: #1a7f37; }
			[data-sidewire-state="live"] .live-state::after { content: "This price is live"; }
			[data-sidewire-state="offline"] .live-state::after { content: "Offline: this price may be out of date"; }
			@media (prefers-reduced-motion: no-preference) {
				.price-changed { animation: price-changed 2s ease-in; }
				@keyframes price-changed { from { background: #ffe08a; } to { background: transparent; } }
			}
		</style>
		<?php
	}
);

add_action(
	'wp_footer',
	static function () {
		?>
		<script>
			document.addEventListener('sidewire:updated', (event) => {
				event.target.classList.remove('price-changed');
				void event.target.offsetWidth;
				event.target.classList.add('price-changed');
			});
		</script>
		<?php
	}
);
