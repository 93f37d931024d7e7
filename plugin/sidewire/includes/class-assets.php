<?php
/**
 * Brings the browser client to pages that show something live.
 *
 * Other pages get nothing. It never prints a token or anything of a user, since
 * pages are cached.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * The client starts itself when it finds its configuration element, which is
 * therefore printed before it.
 *
 * @since 0.1.0
 */
final class Assets {

	const HANDLE = 'sidewire';

	private const SCRIPT = 'build/sidewire.js';

	/**
	 * The settings.
	 *
	 * @var Config
	 */
	private $config;

	/**
	 * Whether something on this page is live.
	 *
	 * @var bool
	 */
	private $is_required = false;

	/**
	 * Takes the settings.
	 *
	 * @since 0.1.0
	 *
	 * @param Config $config The settings.
	 */
	public function __construct( Config $config ) {
		$this->config = $config;
	}

	/**
	 * Connects to WordPress.
	 *
	 * @since 0.1.0
	 */
	public function add_hooks(): void {
		// Before the scripts of the footer, which WordPress prints at 20.
		add_action( 'wp_footer', array( $this, 'print_client' ), 15 );
		if ( version_compare( get_bloginfo( 'version' ), '6.3', '<' ) ) {
			add_filter( 'script_loader_tag', array( $this, 'defer' ), 10, 2 );
		}
	}

	/**
	 * Says that something on this page is live.
	 *
	 * @since 0.1.0
	 */
	public function require_client(): void {
		$this->is_required = true;
	}

	/**
	 * Prints the configuration and enqueues the script, if they are needed.
	 *
	 * @since 0.1.0
	 */
	public function print_client(): void {
		/**
		 * Whether this page gets the client.
		 *
		 * For themes that write the markers themselves.
		 *
		 * @since 0.1.0
		 *
		 * @param bool $is_required Whether the plugin has printed something live.
		 */
		if ( ! apply_filters( 'sidewire_enqueue_client', $this->is_required ) || ! self::is_built() ) {
			return;
		}
		$json = wp_json_encode( array( 'path' => $this->config->path() ), JSON_HEX_TAG | JSON_HEX_AMP | JSON_UNESCAPED_SLASHES );
		echo '<script type="application/json" id="sidewire-config">', $json, "</script>\n"; // phpcs:ignore WordPress.Security.EscapeOutput -- JSON in which < and & are escaped.

		// Before 6.3 the last argument is a bool, and an array is true.
		wp_enqueue_script(
			self::HANDLE,
			plugins_url( self::SCRIPT, SIDEWIRE_FILE ),
			array(),
			SIDEWIRE_VERSION,
			array(
				'strategy'  => 'defer',
				'in_footer' => true,
			)
		);
	}

	/**
	 * Defers the script where WordPress can't.
	 *
	 * @since 0.1.0
	 *
	 * @param string $tag    The script element.
	 * @param string $handle Whose.
	 */
	public function defer( $tag, $handle ) {
		return self::HANDLE === $handle ? str_replace( ' src=', ' defer src=', $tag ) : $tag;
	}

	/**
	 * Whether the client is there: a checkout has it only once it is built.
	 *
	 * @since 0.1.0
	 */
	public static function is_built(): bool {
		return is_file( dirname( SIDEWIRE_FILE ) . '/' . self::SCRIPT );
	}
}
