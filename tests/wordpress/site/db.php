<?php
/**
 * Database drop-in: WordPress on SQLite.
 *
 * Only points WordPress at the driver beside it; the driver does the rest.
 * Written for the sites that the demo and the tests make.
 *
 * @package Sidewire
 */

if ( ! defined( 'DB_ENGINE' ) ) {
	define( 'DB_ENGINE', 'sqlite' );
}

require_once __DIR__ . '/sqlite-database-integration/wp-includes/sqlite/db.php';
