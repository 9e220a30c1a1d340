# Integration tests: real servers. tests/integration/store_*.c are cmocka programs that tests/support/s3server runs beside a real S3 server.
file(GLOB FLOE_INTEGRATION_S3 CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/store_*.c)
foreach(src ${FLOE_INTEGRATION_S3})
  get_filename_component(name ${src} NAME_WE)
  add_executable(integration_${name} ${src})
  target_link_libraries(integration_${name} PRIVATE floe_test_support)
  add_test(NAME integration.${name}
    COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run $<TARGET_FILE:integration_${name}>)
  set_tests_properties(integration.${name} PROPERTIES LABELS integration TIMEOUT 300)
endforeach()
