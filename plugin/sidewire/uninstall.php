<?php
/**
 * Removes what the plugin stored: two options of each site.
 *
 * Constants in wp-config.php and the sidecar's own files stay.
 *
 * @package Sidewire
 */

defined( 'WP_UNINSTALL_PLUGIN' ) || exit;

$sidewire_sites = is_multisite() ? get_sites( array( 'fields' => 'ids', 'number' => 100 ) ) : array( get_current_blog_id() );

foreach ( $sidewire_sites as $sidewire_site ) {
	if ( is_multisite() ) {
		switch_to_blog( $sidewire_site );
	}
	delete_option( 'sidewire_settings' );
	delete_option( 'sidewire_failure' );
	if ( is_multisite() ) {
		restore_current_blog();
	}
}
