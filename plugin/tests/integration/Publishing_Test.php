<?php
/**
 * How events are handed over, and that a save does not care.
 *
 * @package Sidewire
 */

namespace Sidewire\Tests\Integration;

use Sidewire\Tests\Sidecar;
use Sidewire\Tests\Site_Test_Case;

/**
 * Tests Sidewire\Event_Buffer, Publisher and Circuit_Breaker by requests to WordPress.
 */
final class Publishing_Test extends Site_Test_Case {

	private const SAVE = '$start = hrtime( true ); add_action( "shutdown", static function () use ( $start ) { update_option( "test_ms", ( hrtime( true ) - $start ) / 1e6 ); }, PHP_INT_MAX );
		$ok = update_post_meta( $post, "price", $price ); return array( (bool) $ok, get_post_meta( $post, "price", true ) );';

	protected function setUp(): void {
		parent::setUp();
		$this->forget();
	}

	/**
	 * Saves a price, and asserts that it was saved.
	 *
	 * @param int    $post  Its post.
	 * @param string $price The price.
	 */
	private function save( int $post, string $price ): void {
		$this->assertSame( array( true, $price ), $this->request( self::SAVE, compact( 'post', 'price' ) ) );
	}

	public function test_a_request_is_one_signed_batch(): void {
		$one = $this->post();
		$two = $this->post();
		$this->request( 'update_post_meta( $one, "price", "1" ); update_post_meta( $two, "price", "2" ); update_post_meta( $one, "note", "x" );', compact( 'one', 'two' ) );
		$requests = $this->sidecar->requests();
		$this->assertCount( 1, $requests );
		$events = $this->events( $one, $two );
		sort( $events );
		$this->assertSame( array( 'added #1:note x', 'added #1:price 1', 'added #2:price 2' ), $events );

		$this->assertSame( 'POST /api/batch HTTP/1.1', $requests[0]['request'] );
		$headers = $requests[0]['headers'];
		$this->assertSame( 'application/json', $headers['content-type'] );
		$this->assertMatchesRegularExpression( '/^batch_[A-Za-z0-9-]{16,64}$/', $headers['webhook-id'] );
		$this->assertEqualsWithDelta( time(), (int) $headers['webhook-timestamp'], 5 );
		$key = base64_decode( substr( Sidecar::SECRET, 6 ) );
		$this->assertSame( 'v1,' . base64_encode( hash_hmac( 'sha256', "{$headers['webhook-id']}.{$headers['webhook-timestamp']}.{$requests[0]['body']}", $key, true ) ), $headers['webhook-signature'] );
	}

	public function test_a_request_that_changes_nothing_asks_nothing(): void {
		$this->request( 'return get_option( "home" );' );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_a_web_request_with_many_events_is_one_batch(): void {
		$post = $this->post();
		$this->request( 'add_filter( "sidewire_meta_keys", static fn() => array_map( static fn( $n ) => "key$n", range( 1, 300 ) ) ); foreach ( range( 1, 300 ) as $n ) { add_post_meta( $post, "key$n", "v$n" ); }', compact( 'post' ) );
		$this->assertCount( 1, $this->sidecar->requests() );
		$this->assertCount( 300, $this->sidecar->events() );
	}

	/**
	 * A publisher whose transport keeps what it is given, for code in a request.
	 */
	private const KEEPING = 'final class Keeping implements Sidewire\Transport\Transport { public $bodies = array(); public $ids = array(); public $left = array(); public $wait = 0;
			public function post( string $path, array $headers, string $body, Sidewire\Deadline $deadline ): Sidewire\Transport\Reply { $this->left[] = $deadline->left(); $this->bodies[] = $body; $this->ids[] = $headers["webhook-id"]; usleep( $this->wait ); return Sidewire\Transport\Reply::answered( 200, "{}" ); }
			public function address(): string { return "nowhere"; } }
		$keeping = new Keeping(); $publisher = new Sidewire\Publisher( Sidewire\Config::of_site(), $keeping, new Sidewire\Circuit_Breaker() );
		$events = static fn( $count, $value ) => array_map( static fn( $n ) => new Sidewire\Event( "added", 1, 26, "key$n", array( $value ), $n ), range( 1, $count ) );';

	/**
	 * More than a batch can hold: how many events, of how many bytes.
	 */
	public function large(): array {
		return array(
			'by bytes'  => array( 80, 16000 ),
			'by number' => array( 2500, 10 ),
		);
	}

	/**
	 * @dataProvider large
	 */
	public function test_more_than_a_batch_can_hold_is_several_in_order( int $count, int $bytes ): void {
		list( $ids, $bodies ) = $this->request( self::KEEPING . ' $publisher->publish( $events( $count, str_repeat( "x", $bytes ) ), false ); return array( $keeping->ids, $keeping->bodies );', compact( 'count', 'bytes' ) );
		$this->assertGreaterThan( 2, count( $bodies ) );
		$this->assertCount( count( $bodies ), array_unique( $ids ) );
		$keys = array();
		foreach ( $bodies as $body ) {
			$commands = json_decode( $body, true )['commands'];
			$keys     = array_merge( $keys, array_column( array_column( array_column( $commands, 'broadcast' ), 'data' ), 'meta_key' ) );
			$this->assertLessThanOrEqual( 1048576, strlen( $body ) );
			$this->assertLessThanOrEqual( 1000, count( $commands ) );
		}
		$this->assertSame( array_map( static fn( $n ) => "key$n", range( 1, $count ) ), $keys );
	}

	public function test_the_time_is_that_of_the_request_not_of_each_batch(): void {
		list( $same, $fresh ) = $this->request( self::KEEPING . ' $keeping->wait = 20000; $publisher->publish( $events( 1, "x" ), false ); $publisher->publish( $events( 2500, "x" ), false ); $same = $keeping->left; $publisher->publish( $events( 1, "x" ), true ); return array( $same, end( $keeping->left ) );' );
		$this->assertCount( 4, $same );
		$this->assertGreaterThan( 0.9, $same[0] );
		foreach ( array( 1, 2, 3 ) as $later ) {
			$this->assertLessThanOrEqual( $same[ $later - 1 ] - 0.02, $same[ $later ] );
		}
		$this->assertGreaterThan( 0.9, $fresh );
	}

	public function test_the_command_line_publishes_after_200_changes(): void {
		$post = $this->post();
		$this->site->command_line( 'add_filter( "sidewire_meta_keys", static fn() => array_map( static fn( $n ) => "key$n", range( 1, 450 ) ) ); foreach ( range( 1, 450 ) as $n ) { add_post_meta( $post, "key$n", "v$n" ); }', compact( 'post' ), $this->environment );
		$counts = array_map( static fn( $request ) => count( json_decode( $request['body'], true )['commands'] ), $this->sidecar->requests() );
		$this->assertSame( 450, array_sum( $counts ) );
		$this->assertGreaterThanOrEqual( 3, count( $counts ) );
		$this->assertLessThanOrEqual( 200, max( $counts ) );
		$this->assertSame( 450, count( array_unique( array_column( $this->sidecar->events(), 'meta_key' ) ) ) );
	}

	public function test_the_command_line_publishes_after_a_second(): void {
		$post = $this->post();
		$seen = $this->site->command_line(
			'update_post_meta( $post, "price", "1" ); $end = hrtime( true ) + 1.1e9; while ( hrtime( true ) < $end ) { usleep( 10000 ); } update_post_meta( $post, "stock", "2" );
			return count( file( $record ) );',
			array( 'post' => $post, 'record' => dirname( $this->sidecar->socket ) . '/requests' ),
			$this->environment
		);
		$this->assertSame( 1, $seen, 'it was to publish before it ended' );
		$this->assertSame( array( 'added #1:price 1', 'added #1:stock 2' ), $this->events( $post ) );
	}

	public function test_deleting_a_key_of_many_posts_on_the_command_line_loses_none(): void {
		$this->site->request( 'global $wpdb; $wpdb->query( "START TRANSACTION" ); foreach ( range( 1, 260 ) as $n ) { $wpdb->insert( $wpdb->posts, array( "post_title" => "P$n", "post_status" => "publish", "post_content" => "", "post_excerpt" => "", "to_ping" => "", "pinged" => "", "post_content_filtered" => "" ) ); add_post_meta( $wpdb->insert_id, "colour", "red" ); } $wpdb->query( "COMMIT" );', array(), array( 'SIDEWIRE_DISABLED' => '1' ) );
		$this->site->command_line( 'delete_post_meta_by_key( "colour" );', array(), $this->environment );
		$events = array_filter( $this->sidecar->events(), static fn( $event ) => 'deleted' === $event['op'] && 'colour' === $event['meta_key'] );
		$this->assertGreaterThanOrEqual( 260, count( $events ) );
	}

	// A save never fails, and never waits long.

	/**
	 * What may be at the other end; what the log says; whether it costs the whole time.
	 */
	public function failures(): array {
		return array(
			'silent'                 => array( 'silent', '/no answer in time\. Expected an answer within 100 ms/' ),
			'closes every connection' => array( 'closes', '/failed: (the connection was closed|.*reset)/' ),
			'speaks something else'  => array( 'garbage', '/the answer is no HTTP\. Expected an HTTP answer/' ),
			'refuses the signature'  => array( '401/1003', '/HTTP 401, error 1003.*SIDEWIRE_SECRET/' ),
			'finds it too large'     => array( '413/1009', '/HTTP 413, error 1009/' ),
			'fails for one command'  => array( 'part', '/HTTP 200, error 102: unknown channel/' ),
			'dead'                   => array( null, '/refused.*Expected the sidecar to listen there/i' ),
		);
	}

	/**
	 * @dataProvider failures
	 */
	public function test_a_save_goes_on_and_says_once_what_is_wrong( ?string $mode, string $message ): void {
		$post = $this->post();
		if ( null === $mode ) {
			$this->sidecar->stop();
		} else {
			$this->sidecar->restart( $mode );
		}
		if ( 'silent' === $mode || null === $mode ) {
			unset( $this->environment['SIDEWIRE_TIMEOUT_MS'] );
		}
		$slowest = 0;
		foreach ( array( '1', '2', '3' ) as $price ) {
			$this->save( $post, $price );
			$slowest = max( $slowest, $this->site->request( 'return get_option( "test_ms" );' ) );
		}
		// The promise is 100 ms on top of the save itself; asserted at five times that.
		fwrite( STDOUT, sprintf( "\n  %6.1f ms  the slowest of three saves, sidecar %s", $slowest, $mode ?? 'dead' ) );
		$this->assertLessThan( 500, $slowest );

		$log = array_values( preg_grep( '/^Sidewire: /', $this->site->take_log() ) );
		$this->assertCount( 1, $log, implode( "\n", $log ) );
		$this->assertStringContainsString( "Sidewire: publishing to {$this->sidecar->socket} failed: ", $log[0] );
		$this->assertMatchesRegularExpression( $message, $log[0] );
		$this->assertStringContainsString( 'Logged once until publishing works again.', $log[0] );
		$this->assertStringNotContainsString( substr( Sidecar::SECRET, 6 ), $log[0] );
	}

	public function test_after_a_failure_publishing_works_again_by_itself_and_says_so(): void {
		$post = $this->post();
		$this->sidecar->stop();
		$this->save( $post, '1' );
		$this->site->take_log();
		$this->sidecar->restart( 'ok' );
		$this->save( $post, '2' );
		$this->assertSame( array( 'updated #1:price 2' ), $this->events( $post ) );
		$log = array_values( preg_grep( '/^Sidewire: /', $this->site->take_log() ) );
		$this->assertCount( 1, $log );
		$this->assertMatchesRegularExpression( '/^Sidewire: publishing works again, after \d+ seconds\.$/', $log[0] );
		$this->save( $post, '3' );
		$this->assertSame( array(), $this->site->request( 'return get_option( "sidewire_failure" );' ) );
	}

	public function test_a_silent_sidecar_does_not_cost_each_save_the_whole_time(): void {
		$post = $this->post();
		$this->sidecar->restart( 'silent' );
		unset( $this->environment['SIDEWIRE_TIMEOUT_MS'] );
		foreach ( range( 1, 5 ) as $price ) {
			$this->save( $post, (string) $price );
		}
		$this->assertCount( 3, $this->sidecar->requests(), 'after three time-outs it was to pause' );

		// The pause passes: one request tries, and pauses longer.
		$this->site->request( '$state = get_option( "sidewire_failure" ); $state["until"] = time() - 1; update_option( "sidewire_failure", $state );' );
		$this->save( $post, '6' );
		$this->save( $post, '7' );
		$this->assertCount( 4, $this->sidecar->requests() );
		$this->assertSame( 10, $this->site->request( 'return get_option( "sidewire_failure" )["pause"];' ) );

		$this->sidecar->restart( 'ok' );
		$this->environment['SIDEWIRE_TIMEOUT_MS'] = '1000';
		$this->site->request( '$state = get_option( "sidewire_failure" ); $state["until"] = time() - 1; update_option( "sidewire_failure", $state );' );
		$this->save( $post, '8' );
		$this->save( $post, '9' );
		$this->assertCount( 6, $this->sidecar->requests() );
		$this->assertCount( 2, preg_grep( '/^Sidewire: /', $this->site->take_log() ) );
	}

	public function test_a_dead_sidecar_is_tried_each_time_as_that_costs_nothing(): void {
		$post = $this->post();
		$this->sidecar->stop();
		foreach ( range( 1, 5 ) as $price ) {
			$this->save( $post, (string) $price );
		}
		$this->sidecar->restart( 'ok' );
		$this->save( $post, '6' );
		$this->assertSame( array( 'updated #1:price 6' ), $this->events( $post ) );
		$this->site->take_log();
	}

	public function test_a_failure_leaves_no_trace_in_the_queries_of_later_saves(): void {
		$post = $this->post();
		$this->sidecar->stop();
		$this->save( $post, '1' );
		$writes = $this->request( 'add_action( "shutdown", static function () { global $wpdb; update_option( "test_writes", count( preg_grep( "/^\s*(INSERT|UPDATE|DELETE).*sidewire/i", array_column( $wpdb->queries, 0 ) ) ) ); }, PHP_INT_MAX ); define( "SAVEQUERIES", true ); update_post_meta( $post, "price", "2" ); return defined( "SAVEQUERIES" ) && SAVEQUERIES;', compact( 'post' ) );
		$this->assertTrue( $writes );
		$this->assertSame( '0', (string) $this->site->request( 'return get_option( "test_writes" );' ) );
		$this->site->take_log();
	}

	public function test_a_sidecar_that_has_just_started_takes_it_all_the_same(): void {
		$post = $this->post();
		$this->sidecar->restart( 'starting' );
		$this->save( $post, '1' );
		$requests = $this->sidecar->requests();
		$this->assertCount( 2, $requests );
		$this->assertSame( $requests[0]['body'], $requests[1]['body'] );
		$this->assertSame( (int) $requests[0]['headers']['webhook-timestamp'] + 1, (int) $requests[1]['headers']['webhook-timestamp'] );
		$this->assertNotSame( $requests[0]['headers']['webhook-signature'], $requests[1]['headers']['webhook-signature'] );
	}

	public function test_without_a_secret_nothing_is_sent_and_the_log_says_so_once(): void {
		$post = $this->post();
		unset( $this->environment['SIDEWIRE_SECRET'] );
		$this->save( $post, '1' );
		$this->save( $post, '2' );
		$this->assertSame( array(), $this->sidecar->requests() );
		$log = preg_grep( '/^Sidewire: /', $this->site->take_log() );
		$this->assertCount( 1, $log );
		$this->assertStringContainsString( 'SIDEWIRE_SECRET is not set', implode( $log ) );
	}

	public function test_a_filter_of_another_plugin_that_throws_does_not_end_the_save(): void {
		$post = $this->post();
		$this->assertSame( array( true, '1' ), $this->request( 'add_filter( "sidewire_meta_keys", static function () { throw new LogicException( "broken" ); } );' . self::SAVE, array( 'post' => $post, 'price' => '1' ) ) );
		$this->assertNotEmpty( preg_grep( '/^Sidewire: a change of post meta was not captured: LogicException: broken/', $this->site->take_log() ) );
	}

	public function test_a_database_that_fails_at_the_end_is_no_deletion(): void {
		$post = $this->post( array( 'meta_input' => array( 'price' => '1' ) ) );
		$this->request( 'update_post_meta( $post, "price", "2" ); add_filter( "query", static fn( $sql ) => false !== strpos( $sql, "postmeta" ) && false !== strpos( $sql, "SELECT post_id" ) ? "SELECT nonsense FROM nowhere" : $sql ); global $wpdb; $wpdb->suppress_errors();', compact( 'post' ) );
		$this->assertSame( array(), $this->sidecar->requests() );
		$this->assertNotEmpty( preg_grep( '/^Sidewire: changes were not published: RuntimeException: the database could not be read/', $this->site->take_log() ) );
	}

	public function test_switched_off_it_captures_nothing(): void {
		$post                                   = $this->post();
		$this->environment['SIDEWIRE_DISABLED'] = '1';
		$this->save( $post, '1' );
		$this->assertSame( array(), $this->sidecar->requests() );
	}

	public function test_settings_come_from_constants_then_the_environment_then_the_option(): void {
		$this->site->request( 'update_option( "sidewire_settings", array( "path" => "/option", "meta_keys" => array( "from_option" ), "timeout_ms" => 50 ) );' );
		$this->environment['SIDEWIRE_PATH'] = '/environment';
		unset( $this->environment['SIDEWIRE_META_KEYS'], $this->environment['SIDEWIRE_TIMEOUT_MS'] );
		$this->assertSame(
			array( '/environment', array( 'from_option' ), 50 ),
			$this->request( '$config = Sidewire\Config::of_site(); return array( $config->path(), $config->meta_keys(), $config->timeout_ms() );' )
		);
		$this->assertSame( '/constant', $this->request( 'define( "SIDEWIRE_PATH", "/constant" ); return Sidewire\Config::of_site()->path();' ) );
	}
}
