<?php
/**
 * Tells the owner, on the plugins screen, what is wrong with the settings.
 *
 * Shows no value that is secret, and nothing to other users.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * One notice, only while there is a fault.
 *
 * @since 0.1.0
 */
final class Config_Notice {

	/**
	 * The settings.
	 *
	 * @var Config
	 */
	private $config;

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
		add_action( 'load-plugins.php', array( $this, 'prepare' ) );
	}

	/**
	 * Arranges for the notice, once it is known that the screen is shown.
	 *
	 * @since 0.1.0
	 */
	public function prepare(): void {
		add_action( 'admin_notices', array( $this, 'print_notice' ) );
	}

	/**
	 * Prints the notice.
	 *
	 * @since 0.1.0
	 */
	public function print_notice(): void {
		if ( ! current_user_can( 'manage_options' ) ) {
			return;
		}
		$faults = $this->config->faults();
		if ( ! Assets::is_built() ) {
			$faults[] = __( 'build/sidewire.js is missing: expected the browser client. Build it with "make client", or install a release of the plugin.', 'sidewire' );
		}
		foreach ( $faults as $fault ) {
			/* translators: %s: what is wrong and what to do. */
			printf( '<div class="notice notice-warning"><p>%s</p></div>', esc_html( sprintf( __( 'Sidewire: %s', 'sidewire' ), $fault ) ) );
		}
	}
}
