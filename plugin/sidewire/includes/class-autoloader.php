<?php
/**
 * Finds the file of a class of this plugin.
 *
 * Knows names and folders only: it loads nothing of other plugins, and needs
 * no Composer where the plugin runs.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * `Sidewire\Capture\Meta_Watcher` is in `capture/class-meta-watcher.php`, an
 * interface in `interface-NAME.php`.
 *
 * @since 0.1.0
 */
final class Autoloader {

	/**
	 * Registers the folder that holds the classes.
	 *
	 * @since 0.1.0
	 *
	 * @param string $folder Without a slash at its end.
	 */
	public static function register( string $folder ): void {
		spl_autoload_register(
			static function ( string $name ) use ( $folder ): void {
				if ( 0 !== strpos( $name, __NAMESPACE__ . '\\' ) ) {
					return;
				}
				$parts = explode( '\\', strtolower( str_replace( '_', '-', substr( $name, strlen( __NAMESPACE__ ) + 1 ) ) ) );
				$last  = array_pop( $parts );
				foreach ( array( 'class', 'interface' ) as $kind ) {
					$file = implode( '/', array_merge( array( $folder ), $parts, array( "$kind-$last.php" ) ) );
					if ( is_file( $file ) ) {
						require $file;
						return;
					}
				}
			}
		);
	}
}
