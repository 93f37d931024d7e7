<?php
/**
 * Reads every file of the plugin with the PHP that runs this, loads its
 * classes, and signs the shared vectors.
 *
 * Run under PHP 7.4 by check.mjs; that PHP has no WordPress and no Unix socket,
 * so behaviour is tested elsewhere, with a newer one.
 *
 * @package Sidewire
 */

if ( 0 !== strpos( PHP_VERSION, '7.4.' ) ) {
	echo 'expected PHP 7.4, this is ' . PHP_VERSION . "\n";
	exit( 1 );
}

$plugin = dirname( __DIR__, 2 ) . '/sidewire';
$passed = 0;
$failed = 0;
$check  = static function ( string $what, callable $work ) use ( &$passed, &$failed ): void {
	try {
		$work();
		++$passed;
	} catch ( Throwable $error ) {
		++$failed;
		echo "$what: {$error->getMessage()} (line {$error->getLine()})\n";
	}
};

$files = array();
foreach ( new RecursiveIteratorIterator( new RecursiveDirectoryIterator( $plugin, FilesystemIterator::SKIP_DOTS ) ) as $file ) {
	if ( 'php' === $file->getExtension() ) {
		$files[] = $file->getPathname();
	}
}
sort( $files );

foreach ( $files as $file ) {
	$check(
		$file,
		static function () use ( $file ): void {
			token_get_all( file_get_contents( $file ), TOKEN_PARSE );
		}
	);
}
if ( $failed > 0 ) {
	// A class that can't be read can't be loaded either.
	echo "php74: $passed passed, $failed failed\n";
	exit( 1 );
}

define( 'ABSPATH', __DIR__ . '/no-wordpress/' );
require "$plugin/includes/class-autoloader.php";
Sidewire\Autoloader::register( "$plugin/includes" );
foreach ( preg_grep( '~/(class|interface)-[a-z-]+\.php$~', $files ) as $file ) {
	$check(
		$file,
		static function () use ( $file ): void {
			require_once $file;
			$name = str_replace( '-', '_', preg_replace( '~^(class|interface)-~', '', basename( $file, '.php' ) ) );
			foreach ( array_merge( get_declared_classes(), get_declared_interfaces() ) as $declared ) {
				if ( 0 === strpos( $declared, 'Sidewire\\' ) && $name === strtolower( substr( $declared, (int) strrpos( $declared, '\\' ) + 1 ) ) ) {
					return;
				}
			}
			throw new RuntimeException( 'it does not declare the class that it is named after' );
		}
	);
}

$vectors = json_decode( file_get_contents( dirname( __DIR__, 3 ) . '/tests/vectors/signatures.json' ), true );
foreach ( $vectors['cases'] as $vector ) {
	$check(
		$vector['name'],
		static function () use ( $vector ): void {
			$signature = ( new Sidewire\Signer( array( $vector['secret'] ) ) )->sign( $vector['id'], $vector['timestamp'], $vector['body'] );
			if ( in_array( $signature, explode( ' ', $vector['signature'] ), true ) !== $vector['valid'] ) {
				throw new RuntimeException( "signed as $signature" );
			}
		}
	);
}

echo 'PHP ' . PHP_VERSION . ': ' . count( $files ) . " files read, classes loaded, vectors signed\n";
echo "php74: $passed passed, $failed failed\n";
exit( $failed > 0 ? 1 : 0 );
