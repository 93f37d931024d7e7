<?php
/**
 * The way to the sidecar: whatever is at the other end, it is over in time and
 * nothing is thrown.
 *
 * A promise of 100 ms is asserted at five times that, since the machine of a
 * test may be busy; what was measured is printed.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Sidewire\Deadline;
use Sidewire\Tests\Folder;
use Sidewire\Tests\Process;
use Sidewire\Tests\Sidecar;
use Sidewire\Transport\Reply;
use Sidewire\Transport\Unix_Http;

/**
 * Tests Sidewire\Transport\Unix_Http on real sockets.
 */
final class Unix_Http_Test extends TestCase {

	private const PROMISED_MS = 100.0;

	/**
	 * What was measured: line by line.
	 *
	 * @var string[]
	 */
	private static $measured = array();

	public static function tearDownAfterClass(): void {
		fwrite( STDOUT, "\nTransport, promised within " . self::PROMISED_MS . " ms:\n" . implode( '', self::$measured ) );
	}

	/**
	 * Sends a request, and holds the promise of time.
	 *
	 * @param string $socket Where to.
	 * @param string $body   What.
	 */
	private function post( string $socket, string $body = '{"commands":[]}' ): Reply {
		error_clear_last();
		$start = hrtime( true );
		$reply = ( new Unix_Http( $socket ) )->post( '/api/batch', array( 'webhook-id' => 'batch_0123456789abcdef' ), $body, new Deadline( self::PROMISED_MS ) );
		$this->hold( ( hrtime( true ) - $start ) / 1e6 );
		$this->assertNull( error_get_last(), 'PHP was left to complain' );
		return $reply;
	}

	/**
	 * Asserts the promise, and notes the measure.
	 *
	 * @param float $ms How long it took.
	 */
	private function hold( float $ms ): void {
		self::$measured[] = sprintf( "  %8.2f ms  %s\n", $ms, str_replace( '_', ' ', substr( $this->getName(), 5 ) ) );
		$this->assertLessThan( 5 * self::PROMISED_MS, $ms );
	}

	public function test_hands_a_request_over(): void {
		$sidecar = new Sidecar( 'ok' );
		$reply   = $this->post( $sidecar->socket );
		$this->assertTrue( $reply->is_success(), $reply->detail() );
		$this->assertSame( 200, $reply->status() );
		$this->assertNull( $reply->failure() );
		$request = $sidecar->requests()[0];
		$this->assertSame( 'POST /api/batch HTTP/1.1', $request['request'] );
		$this->assertSame( 'localhost', $request['headers']['host'] );
		$this->assertSame( 'application/json', $request['headers']['content-type'] );
		$this->assertSame( 'batch_0123456789abcdef', $request['headers']['webhook-id'] );
		$this->assertSame( '{"commands":[]}', $request['body'] );
	}

	public function test_hands_a_megabyte_over(): void {
		$sidecar = new Sidecar( 'ok' );
		$body    = '{"commands":[],"filling":"' . str_repeat( 'x', 1000000 ) . '"}';
		$reply   = $this->post( $sidecar->socket, $body );
		$this->assertTrue( $reply->is_success(), $reply->detail() );
		$this->assertSame( $body, $sidecar->requests()[0]['body'] );
	}

	public function test_hands_a_hundred_requests_over(): void {
		$sidecar = new Sidecar( 'ok' );
		$times   = array();
		for ( $round = 0; $round < 100; $round++ ) {
			$start = hrtime( true );
			$reply = ( new Unix_Http( $sidecar->socket ) )->post( '/api/batch', array(), '{"commands":[]}', new Deadline( self::PROMISED_MS ) );
			$times[] = ( hrtime( true ) - $start ) / 1e6;
			$this->assertTrue( $reply->is_success(), $reply->detail() );
		}
		sort( $times );
		$this->hold( $times[50] );
	}

	public function test_tells_a_refusal_with_its_code(): void {
		$sidecar = new Sidecar( '401/1003' );
		$reply   = $this->post( $sidecar->socket );
		$this->assertFalse( $reply->is_success() );
		$this->assertSame( array( 401, Reply::REFUSED, 1003 ), array( $reply->status(), $reply->failure(), $reply->error_code() ) );
		$this->assertStringContainsString( 'HTTP 401, error 1003: as the test asked', $reply->detail() );
	}

	public function test_tells_the_error_of_one_command_in_a_batch(): void {
		$sidecar = new Sidecar( 'part' );
		$reply   = $this->post( $sidecar->socket, '{"commands":[{},{}]}' );
		$this->assertSame( array( 200, Reply::REFUSED, 102 ), array( $reply->status(), $reply->failure(), $reply->error_code() ) );
	}

	public function test_reads_a_refusal_that_comes_before_the_body_is_taken(): void {
		$sidecar = new Sidecar( 'early/413/1009' );
		$reply   = $this->post( $sidecar->socket, str_repeat( 'x', 5000000 ) );
		$this->assertSame( array( 413, Reply::REFUSED, 1009 ), array( $reply->status(), $reply->failure(), $reply->error_code() ), $reply->detail() );
	}

	public function test_gives_up_on_silence(): void {
		$sidecar = new Sidecar( 'silent' );
		$reply   = $this->post( $sidecar->socket );
		$this->assertSame( array( 0, Reply::TIMEOUT ), array( $reply->status(), $reply->failure() ), $reply->detail() );
		$this->assertCount( 1, $sidecar->requests() );
	}

	public function test_gives_up_when_a_large_body_is_not_taken(): void {
		$sidecar = new Sidecar( 'deaf' );
		$reply   = $this->post( $sidecar->socket, str_repeat( 'x', 5000000 ) );
		$this->assertSame( Reply::TIMEOUT, $reply->failure(), $reply->detail() );
		$this->assertMatchesRegularExpression( '/^only \d{4,7} of 5\d{6} bytes were taken in time$/', $reply->detail() );
	}

	public function test_tells_a_connection_that_is_closed_at_once(): void {
		$sidecar = new Sidecar( 'closes' );
		$reply   = $this->post( $sidecar->socket );
		$this->assertSame( Reply::BROKEN, $reply->failure(), $reply->detail() );
	}

	public function test_tells_an_answer_that_is_no_http(): void {
		$sidecar = new Sidecar( 'garbage' );
		$reply   = $this->post( $sidecar->socket );
		$this->assertSame( Reply::BROKEN, $reply->failure(), $reply->detail() );
		$this->assertSame( 'the answer is no HTTP', $reply->detail() );
	}

	public function test_tells_a_missing_socket(): void {
		$folder = new Folder();
		$reply  = $this->post( "{$folder->path}/none.sock" );
		$this->assertSame( Reply::UNREACHABLE, $reply->failure() );
		$this->assertStringContainsString( 'No such file', $reply->detail() );
	}

	public function test_tells_a_socket_that_nobody_listens_on_any_more(): void {
		$sidecar = new Sidecar( 'ok' );
		$sidecar->stop();
		$this->assertFileExists( $sidecar->socket );
		$reply = $this->post( $sidecar->socket );
		$this->assertSame( Reply::UNREACHABLE, $reply->failure() );
		$this->assertStringContainsString( 'refused', $reply->detail() );
	}

	public function test_tells_a_file_that_is_no_socket(): void {
		$reply = $this->post( __FILE__ );
		$this->assertSame( Reply::UNREACHABLE, $reply->failure() );
	}

	public function test_tells_a_path_that_no_socket_can_have(): void {
		$reply = $this->post( '/' . str_repeat( 'x', 300 ) );
		$this->assertSame( Reply::UNREACHABLE, $reply->failure(), $reply->detail() );
	}

	public function test_does_not_wait_for_a_full_backlog(): void {
		$sidecar = new Sidecar( 'mute' );
		$waiting = array();
		do {
			$one       = @stream_socket_client( "unix://{$sidecar->socket}", $errno, $message, 1 );
			$waiting[] = $one;
		} while ( false !== $one && count( $waiting ) < 50 );
		$this->assertFalse( $one, 'the backlog was not full' );
		$reply = $this->post( $sidecar->socket );
		$this->assertSame( Reply::UNREACHABLE, $reply->failure() );
		$this->assertStringContainsString( 'temporarily unavailable', $reply->detail() );
	}

	public function test_tries_once_more_when_the_connection_dies_while_it_sends(): void {
		$sidecar = new Sidecar( 'hiccup' );
		$body    = str_repeat( 'x', 1000000 );
		$reply   = $this->post( $sidecar->socket, $body );
		$this->assertTrue( $reply->is_success(), $reply->detail() );
		$this->assertSame( array( $body ), array_column( $sidecar->requests(), 'body' ) );
	}

	public function test_does_not_send_twice_what_was_sent_whole(): void {
		$sidecar = new Sidecar( 'forgets' );
		$reply   = $this->post( $sidecar->socket );
		$this->assertSame( Reply::BROKEN, $reply->failure(), $reply->detail() );
		$this->assertCount( 1, $sidecar->requests() );
	}

	public function test_tells_a_socket_that_it_has_no_right_to(): void {
		$sidecar = new Sidecar( 'ok' );
		chmod( $sidecar->socket, 0600 );
		$command = array( PHP_BINARY, dirname( __DIR__ ) . '/support/post.php', $sidecar->socket, (string) self::PROMISED_MS );
		if ( 0 === posix_geteuid() ) {
			// To root, every socket is open.
			$command[] = '65534';
		} else {
			chmod( $sidecar->socket, 0 );
		}
		list( $code, $output )       = ( new Process( $command ) )->finish();
		list( $failure, $text, $ms ) = json_decode( $output, true ) ?? array( null, $output, 0 );
		$this->assertSame( 0, $code, $output );
		$this->assertSame( Reply::UNREACHABLE, $failure );
		$this->assertStringContainsString( 'Permission denied', $text );
		$this->hold( $ms );
	}

	public function test_survives_a_site_that_turns_complaints_into_exceptions(): void {
		set_error_handler(
			static function ( int $level, string $message ): bool {
				throw new \ErrorException( $message, 0, $level );
			}
		);
		try {
			$reply = $this->post( '/nonexistent/publish.sock' );
		} finally {
			restore_error_handler();
		}
		$this->assertSame( Reply::UNREACHABLE, $reply->failure() );
	}

	public function test_does_nothing_when_no_time_is_left(): void {
		$sidecar = new Sidecar( 'ok' );
		$reply   = ( new Unix_Http( $sidecar->socket ) )->post( '/api/batch', array(), '{}', new Deadline( 0 ) );
		$this->assertSame( Reply::TIMEOUT, $reply->failure() );
		$this->assertSame( array(), $sidecar->requests() );
	}
}
