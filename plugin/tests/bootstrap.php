<?php
/**
 * Prepares PHPUnit: the plugin's classes and the tests' own.
 *
 * Loads no WordPress: the unit tests do without, and the integration tests ask
 * one that runs in a process of its own.
 *
 * @package Sidewire
 */

define( 'ABSPATH', __DIR__ . '/no-wordpress/' );

require dirname( __DIR__ ) . '/sidewire/includes/class-autoloader.php';
Sidewire\Autoloader::register( dirname( __DIR__ ) . '/sidewire/includes' );

spl_autoload_register(
	static function ( string $name ): void {
		if ( 0 === strpos( $name, 'Sidewire\\Tests\\' ) ) {
			require __DIR__ . '/support/' . substr( $name, strlen( 'Sidewire\\Tests\\' ) ) . '.php';
		}
	}
);
