<?php
/**
 * HTTP/1.1 over a Unix socket, one connection a request.
 *
 * Only as much HTTP as the sidecar's publish socket speaks. It keeps no
 * connection: one would pin the sidecar's side to an idle PHP worker, to save a
 * tenth of a millisecond.
 *
 * @package Sidewire
 */

namespace Sidewire\Transport;

use Sidewire\Deadline;

defined( 'ABSPATH' ) || exit;

/**
 * Sends without blocking, so that every step ends when the deadline does.
 *
 * @since 0.1.0
 */
final class Unix_Http implements Transport {

	// A Unix socket accepts at once or not at all; this bounds the unforeseen.
	private const CONNECT_SECONDS = 0.05;

	// After a full backlog or a connection that had just died.
	private const RETRY_MICROSECONDS = 2000;

	private const MAX_REPLY_BYTES = 1048576;

	/**
	 * Path of the socket.
	 *
	 * @var string
	 */
	private $socket;

	/**
	 * What PHP last complained of.
	 *
	 * @var string
	 */
	private $complaint = '';

	/**
	 * Takes the socket's path.
	 *
	 * @since 0.1.0
	 *
	 * @param string $socket Absolute.
	 */
	public function __construct( string $socket ) {
		$this->socket = $socket;
	}

	/**
	 * Where requests go, for the log.
	 *
	 * @since 0.1.0
	 */
	public function address(): string {
		return $this->socket;
	}

	/**
	 * Sends a request and waits for its answer, no longer than the deadline.
	 *
	 * @since 0.1.0
	 *
	 * @param string   $path     Such as `/api/batch`.
	 * @param string[] $headers  By name.
	 * @param string   $body     JSON.
	 * @param Deadline $deadline For everything together.
	 */
	public function post( string $path, array $headers, string $body, Deadline $deadline ): Reply {
		// Complaints are wanted as text. Also, some sites turn any notice into an exception, suppressed or not.
		set_error_handler(
			function ( int $level, string $message ): bool {
				$this->complaint = $message;
				return true;
			}
		);
		try {
			$request = $this->request( $path, $headers, $body );
			$reply   = $this->attempt( $request, $deadline, $may_retry );
			if ( $may_retry && $deadline->left() > 2 * self::RETRY_MICROSECONDS / 1e6 ) {
				usleep( self::RETRY_MICROSECONDS );
				$reply = $this->attempt( $request, $deadline, $may_retry );
			}
			return $reply;
		} catch ( \Throwable $error ) {
			// A save must go on, whatever this was.
			return Reply::failed( Reply::BROKEN, get_class( $error ) . ': ' . $error->getMessage() );
		} finally {
			restore_error_handler();
		}
	}

	/**
	 * The bytes of a request.
	 *
	 * @param string   $path    Such as `/api/batch`.
	 * @param string[] $headers By name.
	 * @param string   $body    JSON.
	 */
	private function request( string $path, array $headers, string $body ): string {
		$headers += array(
			'Host'           => 'localhost',
			'Content-Type'   => 'application/json',
			'Content-Length' => (string) strlen( $body ),
			'Connection'     => 'close',
		);
		$head = "POST $path HTTP/1.1\r\n";
		foreach ( $headers as $name => $value ) {
			$head .= "$name: $value\r\n";
		}
		return "$head\r\n$body";
	}

	/**
	 * Connects, sends and reads, once.
	 *
	 * @param string    $request   The bytes to send.
	 * @param Deadline  $deadline  For everything together.
	 * @param bool|null $may_retry Set to whether another attempt may succeed at once.
	 */
	private function attempt( string $request, Deadline $deadline, ?bool &$may_retry ): Reply {
		$may_retry       = false;
		$this->complaint = '';

		$errno    = 0;
		$message  = '';
		$patience = min( self::CONNECT_SECONDS, $deadline->left() );
		if ( $patience <= 0 ) {
			return Reply::failed( Reply::TIMEOUT, 'no time was left to connect' );
		}
		$stream = stream_socket_client( 'unix://' . $this->socket, $errno, $message, $patience );
		if ( false === $stream ) {
			// A full backlog: EAGAIN, which is 11 on Linux and 35 elsewhere.
			$may_retry = in_array( $errno, array( 11, 35 ), true );
			return Reply::failed( Reply::UNREACHABLE, '' !== $message ? $message : $this->complaint );
		}
		try {
			stream_set_blocking( $stream, false );
			return $this->exchange( $stream, $request, $deadline, $may_retry );
		} finally {
			fclose( $stream );
		}
	}

	/**
	 * Sends the request and reads the reply on an open connection.
	 *
	 * Both at once: a sidecar that refuses a request by its head may answer
	 * without reading the body.
	 *
	 * @param resource $stream    Not blocking.
	 * @param string   $request   The bytes to send.
	 * @param Deadline $deadline  For everything together.
	 * @param bool     $may_retry Set to whether another attempt may succeed at once.
	 */
	private function exchange( $stream, string $request, Deadline $deadline, bool &$may_retry ): Reply {
		$sent     = 0;
		$length   = strlen( $request );
		$received = '';
		$broken   = false;
		while ( true ) {
			$left = $deadline->left();
			if ( $left <= 0 ) {
				// A known status is an answer, even if its text did not arrive in time.
				return $this->parse( $received, true ) ?? Reply::failed( Reply::TIMEOUT, $sent < $length ? "only $sent of $length bytes were taken in time" : 'no answer in time' );
			}
			$readable = array( $stream );
			$writable = $sent < $length && ! $broken ? array( $stream ) : array();
			$except   = array();
			// At least a microsecond, as zero and zero would mean not to wait at all.
			$ready = stream_select( $readable, $writable, $except, 0, max( 1, (int) ( $left * 1e6 ) ) );
			if ( false === $ready ) {
				// A signal woke us; the deadline bounds how often.
				usleep( 100 );
				continue;
			}
			if ( $readable ) {
				$bytes = fread( $stream, 65536 );
				if ( false !== $bytes && '' !== $bytes ) {
					$received .= $bytes;
					$reply     = $this->parse( $received, false );
					if ( null !== $reply ) {
						return $reply;
					}
					continue;
				}
				if ( feof( $stream ) || false === $bytes ) {
					$may_retry = '' === $received && $sent < $length;
					return $this->parse( $received, true ) ?? Reply::failed( Reply::BROKEN, "the connection was closed after $sent of $length bytes were sent and " . strlen( $received ) . ' received' . ( '' === $this->complaint ? '' : " ({$this->complaint})" ) );
				}
			}
			if ( $writable ) {
				$count = fwrite( $stream, 0 === $sent ? $request : substr( $request, $sent, 262144 ) );
				if ( false === $count ) {
					// Gone, but what it said before may still be there to read.
					$broken = true;
					continue;
				}
				$sent += $count;
			}
		}
	}

	/**
	 * Makes a reply of what was received.
	 *
	 * @param string $received The bytes so far.
	 * @param bool   $ended    Whether no more will come.
	 * @return Reply|null Null while it is not complete.
	 */
	private function parse( string $received, bool $ended ): ?Reply {
		$split = strpos( $received, "\r\n\r\n" );
		if ( false === $split && strlen( $received ) > 65536 ) {
			return Reply::failed( Reply::BROKEN, 'the answer is no HTTP' );
		}
		if ( false === $split ) {
			return $ended && '' !== $received ? Reply::failed( Reply::BROKEN, 'the answer ended within its head' ) : null;
		}
		$head = substr( $received, 0, $split );
		$body = substr( $received, $split + 4 );
		if ( ! preg_match( '~^HTTP/1\.[01] ([1-5]\d\d)(?: |\r|$)~', $head, $status ) ) {
			return Reply::failed( Reply::BROKEN, 'the answer is no HTTP' );
		}
		$wanted = preg_match( '~^content-length:[ \t]*(\d{1,9})[ \t]*$~mi', str_replace( "\r", '', $head ), $length ) ? (int) $length[1] : PHP_INT_MAX;
		if ( strlen( $body ) < min( $wanted, self::MAX_REPLY_BYTES ) && ! $ended ) {
			return null;
		}
		return Reply::answered( (int) $status[1], $body );
	}
}
