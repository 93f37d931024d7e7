<?php
/**
 * What the site's owner has set: constants first, then the environment, then
 * the option `sidewire_settings`, then defaults.
 *
 * Reads and checks; writes nothing and shows no secret to anybody.
 *
 * @package Sidewire
 */

namespace Sidewire;

defined( 'ABSPATH' ) || exit;

/**
 * The settings, each read when it is asked for.
 *
 * A value that can't be used counts as not set, and faults() says why: a typing
 * mistake must not take a page down.
 *
 * @since 0.1.0
 */
final class Config {

	private const DEFAULT_SOCKET = '/run/sidewire/publish.sock';
	private const DEFAULT_PATH   = '/realtime';

	// The longest that a save is held up, unless the owner says otherwise.
	private const DEFAULT_TIMEOUT_MS = 100;

	private const MIN_TIMEOUT_MS = 5;
	private const MAX_TIMEOUT_MS = 1000;

	/**
	 * Looks a name up: string name in, value or null out.
	 *
	 * @var callable
	 */
	private $lookup;

	/**
	 * The meta keys as they were written when they were last read.
	 *
	 * @var mixed
	 */
	private $written_keys = array();

	/**
	 * The same as a list: it is asked for at every write of meta.
	 *
	 * @var string[]
	 */
	private $meta_keys = array();

	/**
	 * Takes where settings come from.
	 *
	 * @since 0.1.0
	 *
	 * @param callable $lookup Takes a name such as `SOCKET`, gives its value or null.
	 */
	public function __construct( callable $lookup ) {
		$this->lookup = $lookup;
	}

	/**
	 * The settings of the running site.
	 *
	 * @since 0.1.0
	 */
	public static function of_site(): self {
		return new self(
			static function ( string $name ) {
				if ( defined( "SIDEWIRE_$name" ) ) {
					return constant( "SIDEWIRE_$name" );
				}
				$value = getenv( "SIDEWIRE_$name" );
				if ( false !== $value && '' !== $value ) {
					return $value;
				}
				$settings = get_option( 'sidewire_settings' );
				return is_array( $settings ) ? ( $settings[ strtolower( $name ) ] ?? null ) : null;
			}
		);
	}

	/**
	 * Whether everything is switched off.
	 *
	 * @since 0.1.0
	 */
	public function is_disabled(): bool {
		return filter_var( $this->value( 'DISABLED' ) ?? false, FILTER_VALIDATE_BOOLEAN );
	}

	/**
	 * Path of the Unix socket that takes publications.
	 *
	 * @since 0.1.0
	 */
	public function socket(): string {
		$socket = $this->value( 'SOCKET' );
		return $this->is_socket( $socket ) ? $socket : self::DEFAULT_SOCKET;
	}

	/**
	 * Where on the site's own host browsers connect.
	 *
	 * @since 0.1.0
	 */
	public function path(): string {
		$path = $this->value( 'PATH' );
		return $this->is_path( $path ) ? $path : self::DEFAULT_PATH;
	}

	/**
	 * How long one PHP request may wait for the sidecar, all told.
	 *
	 * @since 0.1.0
	 */
	public function timeout_ms(): int {
		$timeout = $this->value( 'TIMEOUT_MS' );
		return $this->is_timeout( $timeout ) ? (int) $timeout : self::DEFAULT_TIMEOUT_MS;
	}

	/**
	 * The meta keys that the owner allows to be published.
	 *
	 * @since 0.1.0
	 *
	 * @return string[]
	 */
	public function meta_keys(): array {
		$written = $this->value( 'META_KEYS' ) ?? array();
		if ( $written !== $this->written_keys ) {
			$keys               = is_string( $written ) ? explode( ',', $written ) : (array) $written;
			$keys               = array_map( 'trim', array_map( 'strval', array_filter( $keys, 'is_scalar' ) ) );
			$this->meta_keys    = array_values( array_unique( array_filter( $keys, 'strlen' ) ) );
			$this->written_keys = $written;
		}
		return $this->meta_keys;
	}

	/**
	 * The secrets that requests are signed with; more than one while they rotate.
	 *
	 * @since 0.1.0
	 *
	 * @return string[] Each as it is written, `whsec_…`; none if none can be read.
	 */
	public function secrets(): array {
		$text = $this->value( 'SECRET' );
		if ( null === $text ) {
			$file = $this->value( 'SECRET_FILE' );
			// Asked first, so that a missing file is no PHP warning; the read still may fail.
			$text = is_string( $file ) && is_file( $file ) && is_readable( $file ) ? file_get_contents( $file ) : '';
		}
		return is_string( $text ) ? preg_split( '/\s+/', $text, -1, PREG_SPLIT_NO_EMPTY ) : array();
	}

	/**
	 * What is wrong with the settings, each with its name, its value, what was
	 * expected and what to do. Never contains a secret.
	 *
	 * @since 0.1.0
	 *
	 * @return string[]
	 */
	public function faults(): array {
		$faults = array();
		$checks = array(
			'SOCKET'     => array( 'is_socket', 'an absolute path of at most 107 bytes, as [publish] socket in sidewire.toml' ),
			'PATH'       => array( 'is_path', 'a path that begins with one slash, such as ' . self::DEFAULT_PATH ),
			'TIMEOUT_MS' => array( 'is_timeout', sprintf( '%d to %d milliseconds', self::MIN_TIMEOUT_MS, self::MAX_TIMEOUT_MS ) ),
		);
		foreach ( $checks as $name => list( $check, $expected ) ) {
			$value = $this->value( $name );
			if ( null !== $value && ! $this->$check( $value ) ) {
				$faults[] = sprintf( 'SIDEWIRE_%s = %s: expected %s; the default is used until it is corrected.', $name, self::shown( $value ), $expected );
			}
		}
		return array_merge( $faults, $this->secret_faults() );
	}

	/**
	 * What is wrong with the secret.
	 *
	 * @return string[]
	 */
	private function secret_faults(): array {
		$secrets = $this->secrets();
		foreach ( $secrets as $secret ) {
			if ( ! Signer::accepts( $secret ) ) {
				return array( 'SIDEWIRE_SECRET (not shown): expected whsec_ followed by base64, the same line as in the secret_file of sidewire.toml. Nothing is published until then.' );
			}
		}
		if ( $secrets ) {
			return array();
		}
		$file = $this->value( 'SECRET_FILE' );
		if ( null !== $file && null === $this->value( 'SECRET' ) ) {
			return array( sprintf( 'SIDEWIRE_SECRET_FILE = %s: expected a file with one whsec_… line that PHP (user id %s) can read. Nothing is published until then.', self::shown( $file ), function_exists( 'posix_geteuid' ) ? posix_geteuid() : '?' ) );
		}
		return array( 'SIDEWIRE_SECRET is not set: expected the site\'s publish secret. Define SIDEWIRE_SECRET_FILE or SIDEWIRE_SECRET in wp-config.php. Nothing is published until then.' );
	}

	/**
	 * What was set under a name, if anything.
	 *
	 * @param string $name Without SIDEWIRE_.
	 * @return mixed
	 */
	private function value( string $name ) {
		return ( $this->lookup )( $name );
	}

	/**
	 * Whether a value can name a Unix socket.
	 *
	 * @param mixed $value What was set.
	 */
	private function is_socket( $value ): bool {
		// sun_path has 108 bytes on Linux, one of them for the end.
		return is_string( $value ) && 1 === preg_match( '~^/[^\x00]{1,106}$~D', $value );
	}

	/**
	 * Whether a value is a path of an address.
	 *
	 * @param mixed $value What was set.
	 */
	private function is_path( $value ): bool {
		return is_string( $value ) && 1 === preg_match( '~^/(?!/)[A-Za-z0-9._\-/]+$~D', $value );
	}

	/**
	 * Whether a value is a possible time-out.
	 *
	 * @param mixed $value What was set.
	 */
	private function is_timeout( $value ): bool {
		return false !== filter_var( $value, FILTER_VALIDATE_INT, array( 'options' => array( 'min_range' => self::MIN_TIMEOUT_MS, 'max_range' => self::MAX_TIMEOUT_MS ) ) );
	}

	/**
	 * A value as a message shows it.
	 *
	 * @param mixed $value What was set.
	 */
	private static function shown( $value ): string {
		return is_scalar( $value ) ? '"' . substr( (string) $value, 0, 200 ) . '"' : gettype( $value );
	}
}
