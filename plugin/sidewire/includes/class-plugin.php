<?php
/**
 * Puts the parts together and connects them to WordPress.
 *
 * Holds no behaviour of its own.
 *
 * @package Sidewire
 */

namespace Sidewire;

use Sidewire\Capture\Meta_Watcher;
use Sidewire\Transport\Unix_Http;

defined( 'ABSPATH' ) || exit;

/**
 * The one place that knows all parts.
 *
 * @since 0.1.0
 */
final class Plugin {

	/**
	 * The plugin of this request.
	 *
	 * @var self|null
	 */
	private static $instance;

	/**
	 * The settings.
	 *
	 * @var Config
	 */
	private $config;

	/**
	 * Brings the client.
	 *
	 * @var Assets
	 */
	private $assets;

	/**
	 * What may be published and shown.
	 *
	 * @var Policy
	 */
	private $policy;

	/**
	 * Prints values.
	 *
	 * @var Live_Value
	 */
	private $live_value;

	/**
	 * Builds what both halves, capture and output, use.
	 *
	 * @param Config $config The settings.
	 */
	private function __construct( Config $config ) {
		$this->config     = $config;
		$this->assets     = new Assets( $config );
		$this->policy     = new Policy( $config );
		$this->live_value = new Live_Value( $this->policy, $this->assets );
	}

	/**
	 * The plugin of this request.
	 *
	 * @since 0.1.0
	 */
	public static function instance(): self {
		if ( null === self::$instance ) {
			self::$instance = new self( Config::of_site() );
		}
		return self::$instance;
	}

	/**
	 * Connects to WordPress.
	 *
	 * @since 0.1.0
	 */
	public function add_hooks(): void {
		register_activation_hook( SIDEWIRE_FILE, array( self::class, 'activate' ) );
		( new Config_Notice( $this->config ) )->add_hooks();
		// Also when it is disabled: pages must not show the shortcode's own text.
		( new Shortcode( $this->live_value ) )->add_hooks();

		if ( 0 === stripos( $_SERVER['SERVER_SOFTWARE'] ?? '', 'sidewire' ) ) { // phpcs:ignore WordPress.Security -- compared only.
			// WordPress knows a few web servers by name, and offers ugly permalinks to the others.
			add_filter( 'got_url_rewrite', '__return_true' );
		}
		if ( $this->config->is_disabled() ) {
			return;
		}
		$this->assets->add_hooks();
		( new Bindings_Marker( $this->policy, $this->assets ) )->add_hooks();

		$buffer  = new Event_Buffer( new Publisher( $this->config, new Unix_Http( $this->config->socket() ), new Circuit_Breaker() ) );
		$watcher = new Meta_Watcher( $this->policy, array( $buffer, 'touch' ) );
		$buffer->add_source( $watcher );
		$buffer->add_hooks();
		$watcher->add_hooks();
	}

	/**
	 * Prints values.
	 *
	 * @since 0.1.0
	 */
	public function live_value(): Live_Value {
		return $this->live_value;
	}

	/**
	 * Makes the options, empty: an option that is missing costs each request a query.
	 *
	 * @since 0.1.0
	 */
	public static function activate(): void {
		add_option( 'sidewire_settings', array() );
		add_option( Circuit_Breaker::OPTION, array() );
	}
}
