<?php
/**
 * Hands events to the sidecar: signed batches, within the time a save may take.
 *
 * It asks nobody whether an event may be published; and a failure ends here, as
 * a line in the log.
 *
 * @package Sidewire
 */

namespace Sidewire;

use Sidewire\Transport\Reply;
use Sidewire\Transport\Transport;

defined( 'ABSPATH' ) || exit;

/**
 * Publishes at most once; what could not be sent is lost until a later change.
 *
 * @since 0.1.0
 */
final class Publisher {

	// The sidecar's own limits are 1,000 commands and 1 MiB.
	private const MAX_COMMANDS   = 1000;
	private const MAX_BODY_BYTES = 900000;

	// The sidecar started within this very second, and can't know what it had taken before.
	private const ERROR_SIGNED_BEFORE_START = 1006;

	/**
	 * The settings.
	 *
	 * @var Config
	 */
	private $config;

	/**
	 * The way to the sidecar.
	 *
	 * @var Transport
	 */
	private $transport;

	/**
	 * What is known of earlier failures.
	 *
	 * @var Circuit_Breaker
	 */
	private $breaker;

	/**
	 * What is left of this request's time, in milliseconds.
	 *
	 * @var float|null
	 */
	private $budget_ms;

	/**
	 * Takes its parts.
	 *
	 * @since 0.1.0
	 *
	 * @param Config          $config    The settings.
	 * @param Transport       $transport The way to the sidecar.
	 * @param Circuit_Breaker $breaker   What is known of earlier failures.
	 */
	public function __construct( Config $config, Transport $transport, Circuit_Breaker $breaker ) {
		$this->config    = $config;
		$this->transport = $transport;
		$this->breaker   = $breaker;
	}

	/**
	 * Publishes events.
	 *
	 * @since 0.1.0
	 *
	 * @param Event[] $events       In the order in which they are to arrive.
	 * @param bool    $fresh_budget Whether nobody waits for this process: then each call has the whole time.
	 */
	public function publish( array $events, bool $fresh_budget ): void {
		if ( ! $events || ! $this->breaker->allows() ) {
			return;
		}
		try {
			$signer = new Signer( $this->config->secrets() );
		} catch ( \InvalidArgumentException $error ) {
			$this->breaker->failed( null, implode( ' ', $this->config->faults() ) );
			return;
		}
		if ( $fresh_budget || null === $this->budget_ms ) {
			$this->budget_ms = (float) $this->config->timeout_ms();
		}
		$deadline = new Deadline( $this->budget_ms );
		$reply    = null;
		foreach ( $this->bodies( $events ) as $body ) {
			$reply = $this->send( $signer, $body, $deadline );
			if ( ! $reply->is_success() ) {
				break;
			}
		}
		$this->budget_ms = $deadline->left() * 1000;
		if ( null === $reply ) {
			return;
		}
		if ( $reply->is_success() ) {
			$this->breaker->succeeded();
		} else {
			$this->breaker->failed( $reply->failure(), $this->describe( $reply ) );
		}
	}

	/**
	 * Sends one batch.
	 *
	 * @param Signer   $signer   Holds the secrets.
	 * @param string   $body     The batch.
	 * @param Deadline $deadline For everything together.
	 */
	private function send( Signer $signer, string $body, Deadline $deadline ): Reply {
		$id    = 'batch_' . wp_generate_uuid4();
		$reply = $this->send_signed( $signer, $id, time(), $body, $deadline );
		if ( self::ERROR_SIGNED_BEFORE_START !== $reply->error_code() || null === $reply->not_before() ) {
			return $reply;
		}
		// It is signed now, and for a second that has nearly come: nothing that was recorded earlier passes by this.
		return $this->send_signed( $signer, $id, min( time() + 2, max( time(), $reply->not_before() ) ), $body, $deadline );
	}

	/**
	 * Signs one batch for a second, and sends it.
	 *
	 * @param Signer   $signer    Holds the secrets.
	 * @param string   $id        Its `webhook-id`.
	 * @param int      $timestamp Unix seconds.
	 * @param string   $body      The batch.
	 * @param Deadline $deadline  For everything together.
	 */
	private function send_signed( Signer $signer, string $id, int $timestamp, string $body, Deadline $deadline ): Reply {
		$headers = array(
			'webhook-id'        => $id,
			'webhook-timestamp' => (string) $timestamp,
			'webhook-signature' => $signer->sign( $id, $timestamp, $body ),
		);
		return $this->transport->post( '/api/batch', $headers, $body, $deadline );
	}

	/**
	 * Writes events as batches: one, unless they are more than one can hold.
	 *
	 * @param Event[] $events In order.
	 * @return \Generator|string[]
	 */
	private function bodies( array $events ): \Generator {
		$commands = array();
		$bytes    = 0;
		foreach ( $events as $event ) {
			$command = wp_json_encode( $event->command(), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE );
			if ( false === $command ) {
				continue;
			}
			if ( $commands && ( count( $commands ) >= self::MAX_COMMANDS || $bytes + strlen( $command ) > self::MAX_BODY_BYTES ) ) {
				yield self::body( $commands );
				$commands = array();
				$bytes    = 0;
			}
			$commands[] = $command;
			$bytes     += strlen( $command ) + 1;
		}
		if ( $commands ) {
			yield self::body( $commands );
		}
	}

	/**
	 * Joins commands.
	 *
	 * @param string[] $commands Each as JSON.
	 */
	private static function body( array $commands ): string {
		return '{"commands":[' . implode( ',', $commands ) . ']}';
	}

	/**
	 * Says what failed, and what can be done.
	 *
	 * @param Reply $reply Not a success.
	 */
	private function describe( Reply $reply ): string {
		$remedies = array(
			Reply::UNREACHABLE => 'Expected the sidecar to listen there and to let this PHP user write: see [publish] socket and group in sidewire.toml, or define SIDEWIRE_SOCKET.',
			Reply::TIMEOUT     => sprintf( 'Expected an answer within %d ms: see the sidecar\'s log.', $this->config->timeout_ms() ),
			Reply::BROKEN      => 'Expected an HTTP answer: is it the sidecar\'s publish socket? See its log.',
			Reply::REFUSED     => 'See the sidecar\'s log; if it names the signature, SIDEWIRE_SECRET or SIDEWIRE_SECRET_FILE is not the secret of this site in sidewire.toml.',
		);
		return sprintf( 'publishing to %s failed: %s. %s', $this->transport->address(), rtrim( $reply->detail(), '.' ), $remedies[ $reply->failure() ] );
	}
}
